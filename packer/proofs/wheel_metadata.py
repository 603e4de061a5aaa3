"""What the proofs read out of one wheel; remembered by the file's path, size, time of change and inode."""

from __future__ import annotations

import json
import os
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from email.parser import HeaderParser
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from cascade.base import atomic
from cascade.base.manifest import sha256
from packer.proofs.elf import Library, read_library
from packer.wheels import installable

FORMAT = 2  # of what is remembered: raise it whenever this file, elf.py or installable.py reads something else
# NVIDIA's own libraries are known by their packages' names and are half of all bytes: they are not looked into.
CLOSED = "nvidia-"
FEW = 20_000_000  # bytes that are read before a second process has started


@dataclass(frozen=True)
class WheelMetadata:
    """One wheel. `name` is canonical; `files` are the archive's, as they lie in site-packages.

    `paths` are folders there that its .pth files put on the path; `notes` say what the installer passes over. `broken`
    says why it cannot be used, and is empty otherwise: all that comes after it is then empty too.
    """

    path: Path
    size: int
    sha256: str
    name: str
    broken: str = ""
    version: str = ""
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    files: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    libraries: tuple[Library, ...] = ()

    @property
    def file(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def gather(folder: Path, memory: Path, said: Callable[[int], None] = lambda _: None) -> list[WheelMetadata]:
    """The facts of every wheel in `folder`, sorted by file name, read on all cores unless `memory` has them.

    `said` is told the bytes of each wheel that is done.
    """
    paths = sorted(path for path in folder.glob("*.whl") if not path.name.startswith("."))
    found = {path: facts for path in paths if (facts := recall(path, memory)) is not None}
    for facts in found.values():
        said(facts.size)
    unread = sorted((path for path in paths if path not in found), key=lambda path: -path.stat().st_size)
    if sum(path.stat().st_size for path in unread) < FEW:
        for path in unread:
            found[path] = _read_and_remember(path, memory)
            said(found[path].size)
    else:
        with ProcessPoolExecutor(min(len(unread), cores()), mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(_read_and_remember, path, memory) for path in unread]):
                facts = done.result()
                found[facts.path] = facts
                said(facts.size)
    return [found[path] for path in paths]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read(path: Path) -> WheelMetadata:
    """Reads the wheel, whole."""
    found: dict[str, Any] = {"path": path, "size": path.stat().st_size, "sha256": sha256(path)}
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion) as error:
        return WheelMetadata(**found, name=canonicalize_name(path.name.partition("-")[0]), broken=str(error))
    try:
        with zipfile.ZipFile(path) as archive:
            return WheelMetadata(**found, name=name, **_contents(archive, name, version))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError) as error:
        return WheelMetadata(**found, name=name, broken=f"cannot be read as a wheel ({str(error).strip(chr(39))})")


def _contents(archive: zipfile.ZipFile, name: str, version: Version) -> dict[str, Any]:
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    info, notes = installable.check(archive)
    about = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode("utf-8", "replace"))
    told = f"{canonicalize_name(about['Name'] or '')} {about['Version']}"
    if told != f"{name} {about['Version']}" or Version(about["Version"] or "") != version:
        raise ValueError(f"its METADATA belongs to {told}")
    return {
        "version": str(version),
        "requires": tuple(about.get_all("Requires-Dist") or ()),
        "requires_python": about["Requires-Python"] or "",
        "files": tuple(sorted(_installed(file) for file in sizes if not file.endswith("/"))),
        "paths": tuple(_paths(archive, sizes)),
        "notes": tuple(notes),
        "libraries": () if name.startswith(CLOSED) else tuple(_libraries(archive, sizes)),
    }


def _installed(file: str) -> str:
    """Where a file of a wheel lies in site-packages: what is in `x.data/purelib` or `platlib` belongs to the root."""
    parts = file.split("/", 2)
    return parts[2] if len(parts) == 3 and parts[0].endswith(".data") and parts[1] in ("purelib", "platlib") else file


def _paths(archive: zipfile.ZipFile, sizes: dict[str, int]) -> Iterator[str]:
    """What the .pth files in site-packages name, as `site` reads them: a folder a line, but for comments and code."""
    for file in sorted(sizes):
        if "/" not in (placed := _installed(file)) and placed.endswith(".pth"):
            for line in archive.read(file).decode("utf-8-sig", "replace").splitlines():
                if line.strip() and not line.startswith(("#", "import ", "import\t")):
                    yield posixpath.normpath(line.strip().replace("\\", "/"))


def _libraries(archive: zipfile.ZipFile, sizes: dict[str, int]) -> list[Library]:
    names = sorted(file for file in sizes if ".so" in file.rpartition("/")[2])
    read = (read_library(_installed(name), archive.read(name)) for name in names)
    return [library for library in read if library is not None]


def recall(path: Path, memory: Path) -> WheelMetadata | None:
    """What is remembered of a wheel; None where it has changed since, or nothing is."""
    try:
        raw = json.loads(_place(path, memory).read_text(encoding="utf-8"))
        if raw.pop("format") != FORMAT or raw.pop("stamp") != stamp(path):
            return None
        libraries = tuple(Library(e["path"], tuple(e["needed"]), tuple(e["code"])) for e in raw.pop("libraries"))
        raw.update({key: tuple(raw[key]) for key in ("requires", "files", "paths", "notes")})
        return WheelMetadata(path=path, libraries=libraries, **raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def stamp(path: Path) -> list[Any]:
    """What changes when the file does."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]


def _read_and_remember(path: Path, memory: Path) -> WheelMetadata:
    before = stamp(path)
    facts = read(path)
    raw = {**asdict(facts), "format": FORMAT, "stamp": before}
    del raw["path"]
    atomic.write_text(_place(path, memory), json.dumps(raw))
    return facts


def _place(path: Path, memory: Path) -> Path:
    return memory / f"{path.name}.json"
