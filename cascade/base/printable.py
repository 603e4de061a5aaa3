"""Text of others made harmless for a terminal, which obeys control characters: they retitle it, hide, copy or erase."""

from __future__ import annotations

import re

COLOUR = re.compile(r"\x1b\[[\d;:]*m")  # dropped: it changes nothing that can be read
# Control characters but for tab and line feed, halves of surrogate pairs, and what turns the direction of writing.
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with what a terminal would obey written out, such as `\x1b`; colours are left out."""
    return HARMFUL.sub(lambda found: ascii(found[0])[1:-1], COLOUR.sub("", text))
