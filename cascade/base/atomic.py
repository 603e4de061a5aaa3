"""Files that are there whole or not at all: a reader sees the old one or the new, never a part.

Needs only the standard library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path` at the end; nothing of it is left if anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes the text as UTF-8: the whole file, or nothing."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")
