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
        raise StageError("no such notebook", path=notebook, mend="pass --notebooks with the folder that contains it")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        body = ast.parse(tagged[0].source).body if tagged else []
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, SyntaxError) as error:
        raise StageError(f"not a valid notebook: {error}", path=notebook, mend="restore it") from error
    if not tagged:
        raise StageError("no cell is tagged 'parameters'", path=notebook, mend="tag the one with the default values")
    found = {}
    for line in body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            raise StageError(
                f"'{ast.unparse(line)}' has no type",
                path=notebook,
                key="parameters",
                mend="write it as 'name: type = default'",
            )
        found[line.target.id] = ast.unparse(line.annotation)
    return found


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> None:
    """Refuses unknown, missing and wrongly typed parameters, which papermill lets pass."""
    declared = declared_parameters(notebook)
    for name, value in given.items():
        if name not in declared:
            raise StageError(
                f"has no parameter '{name}'{nearest(name, declared)}", path=notebook, mend="declare or remove it"
            )
        if type(value).__name__ != declared[name]:
            raise StageError(
                f"is declared as {declared[name]}, but given as {type(value).__name__}",
                path=notebook,
                key=f"parameter '{name}'",
                mend="use the declared type",
            )
    for name in declared:
        if name not in given:
            raise StageError(
                "has no value", path=notebook, key=f"parameter '{name}'", mend="remove it from the parameters cell"
            )
