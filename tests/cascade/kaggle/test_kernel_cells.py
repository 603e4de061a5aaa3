"""submission.ipynb's cells where cascade is nowhere but in the code dataset, as in Kaggle's image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.stages import baseline
from packer.datasets import project_wheel
from packer.kaggle import kernel as pushes
from tests import kernel_inputs
from tests.conftest import write_folder
from tests.eedi import asked, rows_of
from tests.kernel_inputs import COMPETITION

# Isolated (-I), and without the finder of an editable install, so that an import of cascade finds the wheel or nothing.
CELLS = """
import json, sys
from importlib.util import find_spec
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
assert find_spec("cascade") is None
names = {}
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), names)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_wheel.build(ROOT, tmp_path_factory.mktemp("built"))


@pytest.fixture
def inputs(tmp_path: Path, wheel: Path) -> Path:
    """An input folder with the code dataset and the data, without wheels: no environment can be made."""
    code = tmp_path / "input" / "datasets" / "ada" / "cascade-code"
    code.mkdir(parents=True)
    shutil.copyfile(wheel, code / wheel.name)
    (code / "configs").mkdir()
    (code / "configs" / "kernel.toml").write_text(kernel_inputs.CONFIG)
    kernel_inputs.seal(code, "code")
    (tmp_path / "input" / "competitions").mkdir()
    write_folder(tmp_path / "input" / "competitions" / COMPETITION)
    (tmp_path / "working").mkdir()
    return tmp_path / "input"


def run_cells(inputs: Path, rerun: bool) -> tuple[int, str]:
    """The notebook as it is pushed."""
    pushed = inputs.parent / "pushed"
    pushes.write({}, ROOT / "notebooks" / "submission.ipynb", EEDI, "configs/kernel.toml", pushed)
    variables = {"CASCADE_INPUT": str(inputs)} | ({"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else {})
    command = [sys.executable, "-I", "-c", CELLS, str(pushed / pushes.NOTEBOOK)]
    done = subprocess.run(
        command, env=os.environ | variables, cwd=inputs.parent / "working", capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def no_code_dataset(inputs: Path) -> None:
    shutil.rmtree(inputs / "datasets")


def a_truncated_wheel(inputs: Path) -> None:
    path = next(inputs.rglob("*.whl"))
    path.write_bytes(path.read_bytes()[:5000])


def a_data_file_that_is_none(inputs: Path) -> None:
    (inputs / "competitions" / COMPETITION / "misconception_mapping.csv").write_text("")


@pytest.mark.parametrize("damage", [no_code_dataset, a_truncated_wheel, a_data_file_that_is_none])
def test_without_submission_zero_a_commit_run_says_why_and_the_rerun_has_a_valid_file_all_the_same(
    inputs: Path, damage: Callable[[Path], None]
) -> None:
    expected, known = (
        baseline.rows(EEDI.outline(data := inputs / "competitions" / COMPETITION)),
        set(EEDI.outline(data).texts),
    )
    damage(inputs)
    path = inputs.parent / "working" / "submission.csv"
    code, output = run_cells(inputs, rerun=False)
    assert code != 0 and not path.exists()
    assert "no submission zero by" in output and "make pack, make push-datasets, make push-kernel" in output
    code, output = run_cells(inputs, rerun=True)
    assert code == 0, output
    assert "no submission zero, and nothing else is tried" in output
    submission.validate(path, asked(list(expected), known))


def test_the_wheel_is_found_beside_a_folder_that_is_called_manifest(inputs: Path) -> None:
    (inputs / "another" / "manifest.json").mkdir(parents=True)
    code, output = run_cells(inputs, rerun=True)
    assert code == 0, output
    assert "passed over" in output and "no such dataset" in output
    working = inputs.parent / "working"
    assert rows_of(working / "submission.csv") == baseline.rows(EEDI.outline(inputs / "competitions" / COMPETITION))
    assert (working / "submission-zero.csv").is_file()
