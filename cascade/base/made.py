"""Files that a command makes in a folder that may be anybody's: it makes its own anew, and touches no other.

Each such folder has a record of them. A run's folder has a record of its own kind (folder.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cascade.base import atomic, manifest
from cascade.base.errors import StageError

FILE = ".made.json"


def read(folder: Path) -> dict[str, list[str]]:
    """Reads the SHA-256 of each file that was made in the folder, by its relative name; empty where nothing tells.

    Two of them where the replacement of a file was cut off: it may be the old one or the new.
    """
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = found.get("files") if isinstance(found, dict) else None
    return {str(name): list(map(str, each)) for name, each in known.items()} if isinstance(known, dict) else {}


def _write(folder: Path, known: dict[str, list[str]]) -> None:
    atomic.write_text(folder / FILE, json.dumps({"files": known}, indent=1, sort_keys=True) + "\n")


def check(folder: Path, names: Iterable[str], option: str = "--out") -> None:
    """StageError where a file of these names, which are to be written, is not as it was made."""
    _check(folder, dict.fromkeys(names, ""), option)


def _check(folder: Path, digests: dict[str, str], option: str) -> None:
    """`digests`: SHA-256 of what is to be written; a file that is the same already may be anybody's."""
    known = read(folder)
    for parent in {folder, *((folder / name).parent for name in digests)}:
        if parent.exists() and not parent.is_dir():
            raise StageError("is a file", path=parent, mend=f"pass {option} with a new folder")
    for name, digest in digests.items():
        path = folder / name
        if path.is_dir():
            raise StageError(
                "is a folder where a file has to be written", path=path, mend=f"pass {option} with a new folder"
            )
        if path.exists() and manifest.sha256(path) not in (digest, *known.get(name, [])):
            why = "was changed since it was made" if name in known else f"exists, and is not listed in {FILE}"
            raise StageError(why, path=path, mend=f"pass {option} with a new folder, or move the file away")


@contextmanager
def replaced(folder: Path, option: str = "--out") -> Iterator[Path]:
    """Yields a folder whose files replace those in `folder` at the end.

    All of them do, or none where one is refused (StageError) or anything fails.
    """
    if folder.exists() and not folder.is_dir():
        raise StageError("is a file", path=folder, mend=f"pass {option} with a folder")
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
            yield Path(scratch)
            paths = {path.relative_to(scratch).as_posix(): path for path in sorted(Path(scratch).rglob("*"))
                     if path.is_file()}  # fmt: skip
            digests = {name: manifest.sha256(path) for name, path in paths.items()}
            _check(folder, digests, option)
            known = read(folder)
            _write(folder, known | {name: [*known.get(name, []), digest] for name, digest in digests.items()})
            for name, path in paths.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.replace(folder / name)
            _write(folder, known | {name: [digest] for name, digest in digests.items()})
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()
