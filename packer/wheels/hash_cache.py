"""SHA-256 of large files, remembered from one run to the next."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import TracebackType

from cascade.base import atomic
from cascade.base.manifest import sha256


class Hashes:
    """Keeps the hashes of `file` within `with`; a file of another size, time or inode is read again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, list[int | str]] = {}

    def __enter__(self) -> Hashes:
        try:
            self._known = dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or torn: all is read again
            self._known = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # a full disk: what is not remembered is read again
            atomic.write_text(self.file, json.dumps(self._known, indent=1, sort_keys=True))

    def of(self, path: Path) -> str:
        """The SHA-256 in hex."""
        known = self._known.get(str(path))
        if known is None or known[:-1] != _stamp(path):
            self.set(path, sha256(path))
        return str(self._known[str(path)][-1])

    def set(self, path: Path, digest: str) -> None:
        self._known[str(path)] = [*_stamp(path), digest]


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
