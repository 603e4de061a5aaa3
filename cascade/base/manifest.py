"""A dataset's manifest: what it is, and each of its files with size and SHA-256. Needs only the standard library.

A dataset is known by its manifest wherever Kaggle mounts it, never by its path.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cascade.base.errors import CascadeError

FILE = "manifest.json"
KINDS = ("code", "wheels", "adapters")
DEPTH = 3  # folders below the input folder: /kaggle/input/datasets/<owner>/<slug>


class ManifestError(CascadeError):
    """A manifest that cannot be read."""


@dataclass(frozen=True)
class Entry:
    """One file: bytes, and SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`files` by path relative to the dataset's folder, with `/`; the manifest itself is not among them.

    `commit`: the git commit it was made from, empty where there was none; `dirty`: with changes not committed.
    `about`: what else its kind tells: an image's name and Python, the names of adapters.
    """

    kind: str
    commit: str
    dirty: bool
    files: dict[str, Entry]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def as_json(self) -> str:
        """The same text for the same content."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def same(one: Manifest, other: Manifest) -> bool:
    """Whether both tell of the same content, whatever commit each was made from."""
    return (one.kind, one.files, one.about) == (other.kind, other.files, other.about)


def parse(text: str, where: str) -> Manifest:
    """A manifest from its JSON; `where` names it in ManifestError."""
    try:
        raw = json.loads(text)
        files = {str(name): Entry(int(e["size"]), str(e["sha256"])) for name, e in raw["files"].items()}
        return Manifest(str(raw["kind"]), str(raw["commit"]), bool(raw["dirty"]), files, dict(raw["about"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"not a manifest of this project ({type(error).__name__}: {error})", path=where, mend="pack again"
        ) from None


def read(folder: Path) -> Manifest:
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:  # any dataset may have a file of this name
        raise ManifestError(f"cannot be read ({error})", path=path, mend="pack again") from error
    return parse(text, str(path))


def find(root: Path, kind: str) -> list[Path]:
    """Folders below `root`, at most `DEPTH` deep, whose manifest is of this kind; sorted. Others are passed over."""
    found = []
    for folder in _folders(root, DEPTH):
        if (folder / FILE).is_file():
            try:
                if read(folder).kind == kind:
                    found.append(folder)
            except ManifestError:
                continue
    return sorted(found)


def _folders(root: Path, depth: int) -> Iterator[Path]:
    yield root
    if depth:
        try:
            inside = [Path(entry.path) for entry in os.scandir(root) if entry.is_dir()]
        except OSError:
            return
        for folder in inside:
            yield from _folders(folder, depth - 1)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problems(folder: Path, hashed: bool, said: Callable[[int], None] = lambda _: None) -> list[str]:
    """What of the manifest's files is missing or differs, a line each: sizes alone, or hashes too.

    `said` is told the bytes read, file after file.
    """
    found = []
    for name, entry in sorted(read(folder).files.items()):
        path = folder / name
        try:
            size = path.stat().st_size
            if size != entry.size:
                found.append(f"{name}: {size} bytes instead of {entry.size}")
            elif hashed and sha256(path) != entry.sha256:
                found.append(f"{name}: its SHA-256 differs from the manifest's")
        except OSError as error:
            found.append(f"{name}: {error.strerror}")
        said(entry.size)
    return found
