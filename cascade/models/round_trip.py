"""Whether a tokenizer reads what is written: a text, and what its token ids say when they are decoded.

Some tokenizers change a text on purpose (lower case, no accents, no line breaks, unknown characters), which is to be
known. One whose class does not match its file loses what cannot be missed: every space, or common characters.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass

SHOWN = 24  # characters of a text in a message
FIX = (
    'set "tokenizer_class": "PreTrainedTokenizerFast" in its tokenizer_config.json, as another class does not match '
    "its tokenizer.json, or fetch the model again"
)


@dataclass(frozen=True)
class Difference:
    """What is not read as written. `lost`: no model can answer a prompt that is read so."""

    lost: bool
    said: str


def difference(text: str, back: str, unknown: str | None = None) -> Difference | None:
    """How `back`, decoded from the tokens of `text`, differs; None where the model reads what is written.

    `unknown`: the token that stands for what the tokenizer does not know.
    """
    if unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", back):
        return None
    wanted, found = _lower(text), _lower(back.replace(unknown, " ") if unknown else back)
    counts, others = Counter(_visible(wanted)), Counter(_visible(found))
    # What is written otherwise, as e for é, is not gone.
    gone = {each for each in counts - others if not set(_folded(each)) <= set(others - counts)}
    if ascii_gone := sorted(filter(str.isascii, gone)):
        return Difference(True, f"{_listed(ascii_gone)} in a prompt vanish{'es' if len(ascii_gone) == 1 else ''}")
    wanted, found = (_folded("".join(c for c in each if c not in gone)) for each in (wanted, found))
    gaps, kept = _gaps(wanted), _gaps(found)
    if gaps - kept if _visible(wanted) == _visible(found) else 2 * len(kept) < len(gaps):
        return Difference(True, f"words run together: {_pair(text, back)}")
    if gone:
        return Difference(False, f"{_listed(sorted(gone))} in a prompt {'is' if len(gone) == 1 else 'are'} unknown")
    if _visible(text) != _visible(back):
        return Difference(False, _pair(text, back))
    if "\n" in text.strip() and "\n" not in back:
        return Difference(False, "line breaks are read as spaces")
    return None  # a space beside a control token


def _lower(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _folded(text: str) -> str:
    """Removes what tokenizers level on purpose beside case: accents and compatibility forms."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _visible(text: str) -> str:
    return "".join(text.split())


def _gaps(text: str) -> set[int]:
    """Finds the visible characters before which a space separates two words."""
    found, place, before, spaced = set(), 0, " ", False
    for character in text:
        if character.isspace():
            spaced = True
            continue
        if spaced and before.isalnum() and character.isalnum():
            found.add(place)
        place, before, spaced = place + 1, character, False
    return found


def _listed(characters: list[str]) -> str:
    more = f" and {len(characters) - 8} more" if len(characters) > 8 else ""
    return ", ".join(f"'{character}'" for character in characters[:8]) + more


def _pair(text: str, back: str) -> str:
    """Returns both texts from the word on in which they first differ."""
    place = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    start = max(text.rfind(" ", 0, place), text.rfind("\n", 0, place), place - SHOWN) + 1
    return f"{text[start : start + SHOWN]!r} is read as {back[start : start + SHOWN]!r}"
