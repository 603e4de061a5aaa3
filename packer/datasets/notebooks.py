"""The notebooks as they are tracked and pushed: valid, without outputs, with their parameters cell."""

from __future__ import annotations

from pathlib import Path

import nbformat

from cascade.base.errors import CascadeError
from cascade.run.parameters import declared_parameters


def problems(folder: Path) -> list[str]:
    """What is wrong with the notebooks under `folder`, a sentence each; empty if nothing is."""
    found = []
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        return [f"{folder}: contains no notebook; pass the folder that contains one"]
    for path in paths:
        try:
            notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
            if notebook.get("nbformat", 0) < 4:  # it has worksheets in place of cells
                mend = f"jupyter nbconvert --to notebook --inplace {path}"
                found.append(
                    f"{path}: format {notebook.get('nbformat')}, and papermill runs format 4; convert it: {mend}"
                )
                continue
            nbformat.validate(notebook)
            declared_parameters(path)
        except (nbformat.ValidationError, nbformat.reader.NotJSONError, AttributeError) as error:
            found.append(f"{path}: not a valid notebook: {str(error).splitlines()[0]}; restore it")
            continue
        except CascadeError as error:
            found.append(str(error))
        for number, cell in enumerate(notebook.cells, start=1):
            if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
                found.append(f"{path}: cell {number} contains outputs; clear them")
    return found
