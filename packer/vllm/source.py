"""vLLM's source, inside its wheel or installed, read without importing it."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path, PurePosixPath

from cascade.base.errors import CascadeError

MEND = "adapt packer/vllm/api.py to this vLLM"


class WheelError(CascadeError):
    """A wheel or package that cannot be read, or that keeps its names elsewhere than expected."""


class Package:
    """The `vllm` folder. A file is parsed once."""

    def __init__(self, root: Path | zipfile.Path) -> None:
        self.root = root
        self._modules: dict[str, ast.Module] = {}
        self._names: dict[str, dict[str, ast.AST]] = {}

    def module(self, file: str) -> ast.Module:
        if file not in self._modules:
            path = self.root / file
            if not path.is_file():
                raise WheelError("no such file", path=str(path), mend=f"{MEND}, or pass one")
            try:
                self._modules[file] = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError) as error:
                mend = "use a Python as new as this vLLM's"
                raise WheelError(f"not readable as Python ({error})", path=str(path), mend=mend) from None
        return self._modules[file]

    def definition(self, file: str, name: str) -> tuple[str, ast.AST] | None:
        """The file and the class, or the value of the constant, that `name` is in `file`, which may import it.

        None where that lies outside the package.
        """
        if file not in self._names:
            self._names[file] = _defined(self.module(file))
        node = self._names[file].get(name)
        if node is None:
            raise WheelError(f"has no {name}", path=str(self.root / file), mend=MEND)
        if not isinstance(node, ast.ImportFrom):
            return file, node
        source = self._source(file, node)
        imported = next(alias.name for alias in node.names if name == (alias.asname or alias.name))
        return self.definition(source, imported) if source else None

    def _source(self, file: str, statement: ast.ImportFrom) -> str | None:
        """The file that `file` imports from; None outside the package."""
        parts = (statement.module or "").split(".")
        if statement.level:
            folder = PurePosixPath(file).parents[statement.level - 1]
        elif parts[0] == "vllm":
            folder, parts = PurePosixPath(), parts[1:]
        else:
            return None
        module = folder.joinpath(*parts)
        inside = (module / "__init__.py").as_posix()
        return inside if (self.root / inside).is_file() else f"{module}.py"


def _defined(module: ast.Module) -> dict[str, ast.AST]:
    """Classes, constants' values and imports by name; the module's own statements before nested ones."""
    found: dict[str, ast.AST] = {}
    for node in ast.walk(module):  # breadth first
        match node:
            case ast.ClassDef(name=name):
                found.setdefault(name, node)
            case ast.Assign(targets=[ast.Name(id=name), *_], value=value):
                found.setdefault(name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.setdefault(name, value)
            case ast.ImportFrom(names=names):
                for alias in names:
                    found.setdefault(alias.asname or alias.name, node)
    return found
