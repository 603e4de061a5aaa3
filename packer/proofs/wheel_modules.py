"""The modules that wheels bring along, and what each imports: parsed when first asked for, then remembered."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from cascade.base import atomic
from packer.proofs.source_imports import at_import
from packer.proofs.wheel_metadata import WheelMetadata, cores

# Of what is remembered: raise the first whenever this file or imports.py finds something else. Which sources can be
# parsed is the interpreter's.
FORMAT = [2, *sys.version_info[:2]]
PARALLEL = 200  # modules that are worth a process of their own
# setuptools brings distutils along, which Python 3.12 removed, and puts its vendored packages on the path itself.
# `distutils-precedence.pth` and `setuptools/__init__.py` of setuptools 71 and later.
ADDED = {"setuptools": ("setuptools/_distutils/", "setuptools/_vendor/")}
Imports = list[str] | None  # of one module, as packer.imports.at_import finds them


class Modules:
    """Every module of the wheels, by dotted name. `known`: the top-level names, namespaces among them."""

    def __init__(self, wheels: dict[str, WheelMetadata], memory: Path) -> None:
        self.wheels, self.memory = wheels, memory
        self.sources: dict[str, tuple[str, str]] = {}  # the package and its .py file; "" for a compiled module
        self.known: set[str] = set()
        self.remembered: dict[str, dict[str, Imports]] = {}
        self.changed: set[str] = set()
        for name, facts in wheels.items():
            for file in facts.files:
                self._add(name, file, file)
                for path in facts.paths:
                    if file.startswith(f"{path}/"):
                        self._add(name, file, file.removeprefix(f"{path}/"))

    def _add(self, package: str, file: str, place: str) -> None:
        """`place`: the file below the folder of the path that it is imported from."""
        stem, _, kind = place.rpartition("/")[2].partition(".")
        if kind != "py" and not (kind == "so" or kind.endswith(".so")):
            return
        folder = place.rpartition("/")[0]
        for added in ADDED.get(package, ()):
            if place.startswith(added):
                folder = f"{folder}/".removeprefix(added).rstrip("/")
                folder = f"distutils/{folder}".rstrip("/") if added.endswith("_distutils/") else folder
        parts = [*folder.split("/"), stem] if folder else [stem]
        if parts[-1] == "__init__" and kind == "py":
            parts.pop()
        if parts and all(part.isidentifier() for part in parts):
            self.known.add(parts[0])
            self.sources.setdefault(".".join(parts), (package, file if kind == "py" else ""))

    def parents(self, dotted: str) -> Iterator[str]:
        """The modules with a file that an import of `dotted` runs, the outermost first."""
        parts = dotted.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if name in self.sources:
                yield name

    def imports(self, names: Iterable[str]) -> Iterator[tuple[str, Imports]]:
        """Returns what must be there for each module to be imported.

        Nothing is known of compiled ones; those that cannot be parsed have None.
        """
        todo: dict[str, list[tuple[str, str]]] = {}
        names = list(names)
        for name in names:
            package, file = self.sources[name]
            if file and file not in self._memory(package):
                todo.setdefault(package, []).append((name, file))
        for package, parsed in self._parse(todo):
            self._memory(package).update(parsed)
            self.changed.add(package)
        for name in names:
            package, file = self.sources[name]
            if file:
                yield name, self._memory(package)[file]

    def _parse(self, todo: dict[str, list[tuple[str, str]]]) -> Iterator[tuple[str, dict[str, Imports]]]:
        tasks = [
            (package, self.wheels[package].path, modules[start : start + PARALLEL])
            for package, modules in todo.items()
            for start in range(0, len(modules), PARALLEL)
        ]
        if sum(map(len, todo.values())) < 2 * PARALLEL:
            yield from map(_parse, tasks)
        else:
            with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
                yield from pool.map(_parse, tasks)

    def _memory(self, package: str) -> dict[str, Imports]:
        if package not in self.remembered:
            try:
                raw = json.loads(self._place(package).read_text(encoding="utf-8"))
                self.remembered[package] = raw["imports"] if raw["format"] == FORMAT else {}
            except (OSError, ValueError, KeyError, TypeError):
                self.remembered[package] = {}
        return self.remembered[package]

    def _place(self, package: str) -> Path:
        return self.memory / "imports" / f"{self.wheels[package].sha256}.json"

    def __enter__(self) -> Modules:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for package in self.changed:
            atomic.write_text(self._place(package), json.dumps({"format": FORMAT, "imports": self.remembered[package]}))


def _parse(task: tuple[str, Path, list[tuple[str, str]]]) -> tuple[str, dict[str, Imports]]:
    package, path, modules = task
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        roots = {name.partition("/")[0] for name in names if ".data/" in name}
        places = ("", *(f"{root}/{kind}/" for root in roots for kind in ("purelib", "platlib")))
        parsed = {}
        for name, file in modules:
            inside = next(place + file for place in places if place + file in names)
            parsed[file] = at_import(archive.read(inside), name, file.endswith("__init__.py"))
    return package, parsed
