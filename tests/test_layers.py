"""The house: a folder imports only from those below it, in each of the three packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT

# From top to bottom; a package's own modules, such as __main__, stand above all.
LAYERS = {
    "cascade": "kaggle evaluation run report plan stages rerankers retrievers scorers rankings models competitions "
    "processes causes config base",
    "packer": "rehearsal kaggle datasets proofs vllm wheels",
    "training": "jobs",
}
BELOW = {"cascade": (), "packer": ("cascade",), "training": ("cascade",)}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_downward(package: str) -> None:
    layers = LAYERS[package].split()
    paths = sorted((ROOT / package).rglob("*.py"))
    folders = {path.relative_to(ROOT / package).parts[0] for path in paths if path.parent != ROOT / package}
    assert folders == set(layers), "a folder is missing in LAYERS, or is there no longer"
    wrong = []
    for path in paths:
        own = path.relative_to(ROOT / package).parts
        for name in imports(path):
            top, *rest = name.split(".")
            if top in LAYERS and top not in (package, *BELOW[package]):
                wrong.append(f"{path}: {name}: another package")
            if top == package and len(own) > 1 and rest and own[0] in layers and rest[0] != own[0]:
                below = layers[layers.index(own[0]) + 1 :]
                if rest[0] not in below and rest[0] != "__version__":
                    wrong.append(f"{path}: {name}: not below {own[0]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", LAYERS)
def test_a_folder_says_its_role_and_imports_nothing_by_itself(package: str) -> None:
    """The kernel's first statements run in the image's own Python, on whose way every `__init__.py` must be light."""
    for path in sorted((ROOT / package).rglob("__init__.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path}: says no role"
        assert not list(imports(path)) or path.parent == ROOT / package, f"{path}: imports"
