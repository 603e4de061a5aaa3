"""The parameters of a notebook: what its cell declares, against what it is given."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from cascade.base.errors import StageError, nearest


def declared_parameters(notebook: Path) -> dict[str, str]:
    """Name -> annotated type of each parameter in the cell tagged `parameters`."""
    if not notebook.is_file():
        raise StageError(f"{notebook}: no such notebook; pass --notebooks with the folder that holds it")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        body = ast.parse(tagged[0].source).body if tagged else []
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, SyntaxError) as error:
        raise StageError(f"{notebook}: not a valid notebook: {error}; restore it") from error
    if not tagged:
        raise StageError(f"{notebook}: no cell is tagged 'parameters'; tag the one with the defaults")
    found = {}
    for line in body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            raise StageError(f"{notebook}: parameters: '{ast.unparse(line)}' has no type; write 'name: type = default'")
        found[line.target.id] = ast.unparse(line.annotation)
    return found


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> None:
    """Refuses unknown, missing and wrongly typed parameters, which papermill lets pass."""
    declared = declared_parameters(notebook)
    for name, value in given.items():
        if name not in declared:
            raise StageError(f"{notebook}: has no parameter '{name}'{nearest(name, declared)}; declare it or drop it")
        if type(value).__name__ != declared[name]:
            raise StageError(
                f"{notebook}: parameter '{name}' is declared {declared[name]}, given {type(value).__name__}; "
                f"give it as declared"
            )
    for name in declared:
        if name not in given:
            raise StageError(f"{notebook}: parameter '{name}' is given by nobody; drop it from the parameters cell")
