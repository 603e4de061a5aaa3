"""The login as it stands in a file or variable, made readable: editors and shells add marks and line ends to it.

kagglesdk and kagglehub put whatever they find into a header, where a byte-order mark ends in an error of its encoding.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.base.errors import CascadeError

TOKEN, USERNAME, KEY = "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"
FILES = ("access_token", "access_token.txt")
WORD = re.compile(r"[\x21-\x7e]+")  # what a header takes
MEND = "make a token at kaggle.com/settings/api and write it there, as plain text in one line"


class LoginError(CascadeError):
    """A login that cannot be read; names the file or variable, and never what it holds."""


@contextmanager
def readable() -> Iterator[None]:
    """The environment in which Kaggle's clients read the login that is found in their own order, but clean."""
    clean = _clean()
    before = {name: os.environ.get(name) for name in clean}
    os.environ.update(clean)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _clean() -> dict[str, str]:
    found = {}
    for where, text in _tokens():
        if text:
            found[TOKEN] = _word(where, text)
            break
    for name in (USERNAME, KEY):
        if value := os.environ.get(name, "").strip():
            found[name] = _word(name, value)
    path = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle") / "kaggle.json"
    if not found and path.is_file():
        try:
            told = json.loads(_text(path))
            return {USERNAME: _word(str(path), told["username"]), KEY: _word(str(path), told["key"])}
        except (ValueError, KeyError, TypeError) as error:
            raise LoginError(
                "is not a JSON object with username and key", path=path, mend=f"download it again, or {MEND}"
            ) from error
    return found


def _tokens() -> Iterator[tuple[str, str]]:
    """Where a token may stand, and what stands there."""
    value = os.environ.get(TOKEN, "").strip("\ufeff \t\r\n")
    if value:
        is_file = os.path.isfile(value)  # noqa: PTH113 - Path's own raises where a token is too long for a name
        yield (value, _text(Path(value))) if is_file else (TOKEN, value)
        return
    for path in (Path.home() / ".kaggle" / name for name in FILES):
        if path.is_file():
            yield str(path), _text(path)


def _text(path: Path) -> str:
    """A file as UTF-8 or, as PowerShell writes it, UTF-16."""
    try:
        raw = path.read_bytes()
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return raw.decode("utf-16").strip()
        if b"\0" in raw[:2]:
            return raw.decode("utf-16-be" if raw[:1] == b"\0" else "utf-16-le").strip()
        return raw.decode("utf-8-sig").strip()
    except (OSError, UnicodeError) as error:
        raise LoginError(f"cannot be read as text ({type(error).__name__})", path=path, mend=MEND) from None


def _word(where: str, text: str) -> str:
    if not isinstance(text, str) or not WORD.fullmatch(text.strip()):
        raise LoginError("contains no token, which is one word of plain letters and digits", path=where, mend=MEND)
    return text.strip()
