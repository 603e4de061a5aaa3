"""The notebooks as they are tracked, and each of them alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cascade.base.runtime import ROOT
from cascade.rankings import tables
from packer.datasets.notebooks import problems
from tests.eedi import rows_of
from tests.runs import Run

NOTEBOOKS = ROOT / "notebooks"


def test_the_tracked_notebooks_are_clean() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {
        "submission",
        "reason",
        "retrieve",
        "rerank",
        "ensemble",
    }
    assert problems(NOTEBOOKS) == []


def with_output(notebook: nbformat.NotebookNode) -> None:
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.v4.new_output("stream", text="seen")]


def without_parameters(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)


def untyped_parameter(notebook: nbformat.NotebookNode) -> None:
    next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])).source = "config = 'a'"


def invalid(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].pop("cell_type")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (with_output, "contains outputs"),
        (without_parameters, "no cell is tagged 'parameters'"),
        (untyped_parameter, "has no type"),
        (invalid, "not a valid notebook"),
    ],
)
def test_what_is_wrong_with_a_notebook_is_told(tmp_path: Path, damage, told: str) -> None:  # type: ignore[no-untyped-def]
    notebook = nbformat.read(NOTEBOOKS / "retrieve.ipynb", as_version=4)
    damage(notebook)
    (tmp_path / "retrieve.ipynb").write_text(json.dumps(notebook))
    found = problems(tmp_path)
    assert len(found) == 1
    assert "retrieve.ipynb" in found[0]
    assert told in found[0]


def test_a_notebook_of_an_older_format_is_told_how_to_be_converted(tmp_path: Path) -> None:
    old = nbformat.convert(nbformat.read(NOTEBOOKS / "retrieve.ipynb", as_version=4), 3)
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    [found] = problems(tmp_path)
    assert found.startswith(f"{tmp_path / 'old.ipynb'}: format 3,") and "jupyter nbconvert --to notebook" in found


def papermill(notebook: Path, out: Path, cwd: Path, environment: dict[str, str], **parameters: str) -> tuple[int, str]:
    flags = [flag for name, value in parameters.items() for flag in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), "--no-progress-bar", "--log-output", *flags]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_each_stage_runs_alone_with_its_pictures(run: Run) -> None:
    config = run.write_config()
    given = {"config": str(config), "data": str(run.folder / "data"), "run": str(run.out)}
    for stage in ("retrieve", "rerank", "ensemble"):
        executed = run.folder / f"{stage}.ipynb"
        code, output = papermill(NOTEBOOKS / f"{stage}.ipynb", executed, NOTEBOOKS, {}, **given)
        assert code == 0, output
        shown = nbformat.read(executed, as_version=4)
        outputs = [output for cell in shown.cells if cell.cell_type == "code" for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs), stage
        assert any("\\(" in output.get("data", {}).get("text/html", "") for output in outputs), stage
    for table in ("candidates-r1", "ranking-ce", "ranking-ensemble"):
        tables.read(run.out / f"{table}.parquet")
    run.assert_valid()


def test_a_stage_without_its_input_names_the_stage_that_makes_it(run: Run) -> None:
    config = run.write_config()
    given = {"config": str(config), "data": str(run.folder / "data"), "run": str(run.out)}
    code, output = papermill(NOTEBOOKS / "rerank.ipynb", run.folder / "out.ipynb", ROOT, {}, **given)
    assert code != 0
    assert "candidates-r1.parquet: no such table; run the stage that makes it first" in output


@pytest.mark.parametrize("rerun", [False, True])
def test_a_failed_stage_raises_in_a_commit_run_only(run: Run, rerun: bool) -> None:
    """The kernel as a whole, its reranker's adapter gone: in the rerun that may cost the reranker and no more."""
    run.pipeline_extra = 'adapter = "cross-encoder-minilm"'
    config = run.write_config()
    environment = {"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else {}
    given = {"config": str(config), "data": str(run.folder / "data"), "run": str(run.out)}
    shutil.rmtree(run.out, ignore_errors=True)
    code, output = papermill(NOTEBOOKS / "submission.ipynb", run.folder / "out.ipynb", ROOT, environment, **given)
    assert (code == 0) == rerun, output
    assert "adapter_config.json is missing" in output
    run.assert_valid()
    improved = rows_of(run.out / "submission.csv") != rows_of(run.out / "submission-zero.csv")
    assert improved == rerun


def test_in_the_rerun_the_odd_rows_of_a_test_file_cost_no_stage(run: Run) -> None:
    """A right answer that is none is left to submission zero, and a byte that is not UTF-8 is no reason to refuse."""
    test = run.folder / "data" / "test.csv"
    odd = b"9998,1,construct,1,subject,,text,1,2,3,4\n9999,1,construct,1,subject,A,\xe9,1,2,3,4\n"
    test.write_bytes(test.read_bytes() + odd)
    given = {"config": str(run.write_config()), "data": str(run.folder / "data"), "run": str(run.out)}
    environment = {"KAGGLE_IS_COMPETITION_RERUN": "1"}
    code, output = papermill(NOTEBOOKS / "submission.ipynb", run.folder / "out.ipynb", ROOT, environment, **given)
    assert code == 0, output
    assert "is not UTF-8" in output and "CorrectAnswer is ''" in output
    rows, zero = (rows_of(run.out / name) for name in ("submission.csv", "submission-zero.csv"))
    assert list(rows) == list(zero)
    assert {query for query in rows if query.startswith("9998_")} == {f"9998_{answer}" for answer in "ABCD"}
    assert all(rows[query] == zero[query] for query in rows if query.startswith("9998_"))
    assert any(rows[query] != zero[query] for query in rows if query.startswith("9999_"))
    assert set(tables.read(run.out / "ranking-ensemble.parquet")["query_id"]) == {
        query for query in rows if not query.startswith("9998_")
    }


@pytest.mark.parametrize("rerun", [False, True])
def test_a_config_that_is_refused_raises_in_a_commit_run_only(run: Run, rerun: bool) -> None:
    config = run.write_config()
    config.write_text("nonsense = 1\n" + config.read_text())
    given = {"config": str(config), "data": str(run.folder / "data"), "run": str(run.out)}
    environment = {"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else {}
    code, output = papermill(NOTEBOOKS / "submission.ipynb", run.folder / "out.ipynb", ROOT, environment, **given)
    assert (code == 0) == rerun, output
    assert "unknown key 'nonsense'" in output
    run.assert_valid()
