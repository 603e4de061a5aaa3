"""The kernel as Kaggle runs it: from an input folder to an environment of its own, and what a broken input costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from cascade.base import durations, ledger, runtime
from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.kaggle import checks, kernel
from cascade.stages import baseline
from tests import kernel_inputs
from tests.eedi import asked, rows_of
from tests.kernel_inputs import COMPETITION
from tests.runs import small_run

WHEELS, CODE = "cascade-wheels", "datasets/ada/cascade-code"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "wheels"
    folder.mkdir()
    return kernel_inputs.make_all_wheels(folder)


@pytest.fixture
def inputs(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kaggle's input folder, kept folder (the current one) and scratch, all of the test's own."""
    root = kernel_inputs.make_inputs(tmp_path / "input", wheels, small_run(tmp_path).folder / "data")
    for folder in ("working", "scratch"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(runtime, "INPUT", root)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path / "working")
    return root


def without_network() -> list[str]:
    """What a command begins with so that it has loopback alone; nothing where the host does not allow that."""
    command = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    tried = shutil.which("unshare") and shutil.which("ip") and subprocess.run([*command, "true"], capture_output=True)
    return command if tried and tried.returncode == 0 else []


def test_a_commit_run_installs_practises_and_predicts_without_a_network(inputs: Path, tmp_path: Path) -> None:
    working, executed = tmp_path / "working", tmp_path / "executed.ipynb"
    command = [
        *without_network(), sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "submission.ipynb"),
        str(executed), "--cwd", str(working), "--no-progress-bar", "--log-output",
        "--parameters", "config", "configs/kernel.toml",
    ]  # fmt: skip
    (inputs / "someone-elses").mkdir()  # any dataset may have a file of this name
    (inputs / "someone-elses" / "manifest.json").write_bytes(b"\xff\xfe no JSON")
    # As in Kaggle's image, whose PYTHONPATH begins with an empty entry: nothing of it may reach the conductor.
    (tmp_path / "leak" / "cascade").mkdir(parents=True)
    (tmp_path / "leak" / "cascade" / "__init__.py").write_text("raise ImportError('the image leaks in')")
    variables = {
        "CASCADE_INPUT": str(inputs), "TMPDIR": str(tmp_path / "scratch"), "PYTHONPATH": f":{tmp_path / 'leak'}",
    }  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | variables, cwd=working, capture_output=True, text=True, timeout=240, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    environment = tmp_path / "scratch" / "cascade-kernel" / "environment"
    assert "environment made in" in output and str(environment / "bin" / "python") in output
    assert list(environment.glob("lib/*/site-packages/six.py"))
    # Only the test's rows are submitted; the practice's are scored, and timed in the ledger.
    real = EEDI.read(ROOT / "sample")
    folder = inputs / "competitions" / COMPETITION
    expected = list(EEDI.outline(folder).asked)
    submission.validate(working / "submission.csv", asked(expected, set(real.texts)))
    assert rows_of(working / "submission.csv") != rows_of(working / "submission-zero.csv")
    stages = [entry for entry in ledger.read(working / "practice") if entry["phase"] == ledger.STAGE]
    assert [(entry["stage"], entry["status"]) for entry in stages] == [
        ("install", "ok"), ("zero", "ok"), ("retrieve-r1", "ok"), ("ensemble", "ok"),
    ]  # fmt: skip
    assert stages[1]["queries"] == len(expected) + 48
    # Of the nine hours that the config grants, a practice has two.
    assert stages[1]["deadline"] - stages[0]["start"] == pytest.approx(durations.PRACTICE, abs=0.01)
    assert "MAP@25" in output
    stage = nbformat.read(working / "practice" / "notebooks" / "retrieve-r1.ipynb", as_version=4)
    assert str(inputs) in stage.metadata.papermill.input_path
    page = nbformat.read(executed, as_version=4)
    shown = [
        out["data"].get("text/html", "") for cell in page.cells for out in cell.get("outputs", []) if "data" in out
    ]
    assert any("all stages" in html for html in shown)
    assert "kernel.toml: 2,055 queries" in output and "calibrated: " in output and "fits: " in output


def no_wheels_dataset(root: Path) -> None:
    shutil.rmtree(root / WHEELS)


def missing_wheel(root: Path) -> None:
    next((root / WHEELS / "wheels").glob("six-*.whl")).unlink()


def other_python(root: Path) -> None:
    path = next((root / WHEELS / "wheels").glob("six-*.whl"))
    path.rename(path.with_name(path.name.replace("py2.py3-none-any", "cp399-cp399-linux_x86_64")))
    kernel_inputs.seal(root / WHEELS, "wheels", abi="cp399")


def truncated_wheel(root: Path) -> None:
    path = next((root / WHEELS / "wheels").glob("six-*.whl"))
    path.write_bytes(path.read_bytes()[:5000])


def truncated_uv(root: Path) -> None:
    path = next((root / WHEELS / "wheels").glob("uv-*.whl"))
    path.write_bytes(path.read_bytes()[:5000])


# What each is told by, and the mend that the error names.
BROKEN = [
    (no_wheels_dataset, ["wheels", "no such dataset"], "make push-kernel"),
    (missing_wheel, ["wheels/six-", "No such file", "could not install the wheels", "six"], "make pack"),
    (other_python, ["Python", "the wheels are for cp399", "could not install the wheels"], "pin the image"),
    (truncated_wheel, ["wheels/six-", "5000 bytes instead of", "could not install the wheels"], "make push-datasets"),
    (truncated_uv, ["uv's wheel is broken"], "make pack"),
]


def run_kernel(rerun: bool, monkeypatch: pytest.MonkeyPatch) -> kernel.Kernel:
    """As submission.ipynb: the cells between submission zero and the last."""
    if rerun:
        monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    found = kernel.locate("configs/kernel.toml", "sample", "build/run", 48)
    baseline.write(EEDI.outline(found.data), found.run)
    kernel.prepare(found)
    code = kernel.conduct(found, time.time())
    kernel.settle(found, code)
    return found


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize(("damage", "told", "mend"), BROKEN, ids=[damage.__name__ for damage, *_ in BROKEN])
def test_a_broken_input_raises_in_a_commit_run_and_costs_the_stages_in_the_rerun(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    told: list[str],
    mend: str,
    rerun: bool,
) -> None:
    damage(inputs)
    if rerun:
        found = run_kernel(rerun, monkeypatch)
        assert found.python is None and found.practice == 0
    else:
        with pytest.raises(StageError) as error:
            run_kernel(rerun, monkeypatch)
        assert mend in str(error.value)
        assert all(word in str(error.value) for word in told)
    said = capsys.readouterr().out
    assert all(word in said for word in told), said
    rows = rows_of(tmp_path / "working" / "submission.csv")
    assert len(rows) == 9
    assert rows == rows_of(tmp_path / "working" / "submission-zero.csv")
    assert not (tmp_path / "scratch" / "cascade-kernel").exists()  # no half of an environment takes up the disk


def test_a_file_that_differs_and_does_no_harm_costs_nothing_in_the_rerun(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = inputs / WHEELS / "image.lock"
    lock.write_text(lock.read_text() + "# longer\n")
    run_kernel(True, monkeypatch)
    assert "image.lock: " in capsys.readouterr().out
    working = tmp_path / "working"
    assert rows_of(working / "submission.csv") != rows_of(working / "submission-zero.csv")
    assert not (working / "practice").exists()


def test_a_file_that_differs_in_its_hash_alone_is_told_in_a_commit_run(inputs: Path) -> None:
    lock = inputs / WHEELS / "image.lock"
    lock.write_text(lock.read_text()[:-1] + " ")
    found = kernel.locate("configs/kernel.toml", "sample", "build/run")
    baseline.write(EEDI.outline(found.data), found.run)
    kernel.prepare(found)
    assert found.python is not None  # raised at the end, when all has run that can
    with pytest.raises(StageError, match=r"image\.lock: its SHA-256 differs from the manifest's"):
        kernel.settle(found, 0)


def test_a_model_that_is_not_among_the_inputs_is_told_before_anything_is_installed(inputs: Path) -> None:
    config = inputs / CODE / "configs" / "kernel.toml"
    handle = "kaggle:qwen-lm/qwen2.5/transformers/7b-instruct-awq/1"
    stages = [f'[[pipeline]]\nenabled = {on}\nmodel = "{handle}"\n' for on in ("true", "false")]
    for text, found in zip(stages, (1, 0), strict=True):
        config.write_text(text)
        kernel_inputs.seal(inputs / CODE, "code")
        failed = [str(check) for check in checks.check(config, Path("scratch"), hashed=False) if not check.ok]
        assert len(failed) == found
        assert all(handle in line and "make push-kernel" in line for line in failed)


@pytest.mark.parametrize("place", [COMPETITION, f"competitions/{COMPETITION}"])
def test_the_data_is_found_wherever_it_is_mounted(inputs: Path, place: str) -> None:
    there = inputs / "competitions" / COMPETITION
    if there != inputs / place:
        there.rename(inputs / place)
    assert kernel.locate("configs/kernel.toml", "sample", "build/run").data == inputs / place


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (f"competitions/{COMPETITION}", ""),
        (f"competitions/{COMPETITION}", COMPETITION),
        (COMPETITION, COMPETITION),
        (COMPETITION, COMPETITION.title()),
    ],
)
def test_a_dataset_with_a_copy_of_the_data_is_passed_over(inputs: Path, place: str, told: str) -> None:
    """It has the visible test, whose rows are not the rerun's; and it is the first by name and by depth."""
    there = inputs / "competitions" / COMPETITION
    shutil.copytree(there, inputs / "a-copy")
    shutil.copytree(there, inputs / "datasets" / "ada" / "a-copy")
    if there != inputs / place:
        there.rename(inputs / place)
    kernel_inputs.change_about(inputs / CODE, competition=told)
    found = kernel.locate("configs/kernel.toml", "sample", "build/run")
    assert (found.data, found.failures) == (inputs / place, [])


def test_data_of_which_nothing_tells_whether_it_is_the_competitions_is_a_failure(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inputs / "competitions" / COMPETITION).rename(inputs / "one")
    shutil.copytree(inputs / "one", inputs / "other")
    found = kernel.locate("configs/kernel.toml", "sample", "build/run")
    assert len(found.failures) == 1
    assert "2 inputs have" in found.failures[0] and "leave one" in found.failures[0]
    assert found.failures[0] in capsys.readouterr().out


def test_submission_zero_needs_nothing_but_pandas_and_scikit_learn(wheels: Path, folder: Path, tmp_path: Path) -> None:
    """From the wheel as it is, packed, with all else of ours kept from it, as the image may lack it."""
    wheel = next((wheels / "ours").glob("*.whl"))
    script = (
        "import sys\n"
        "for name in ('pydantic', 'typer', 'rich', 'nbformat', 'papermill', 'pyarrow'):\n"
        "    sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(wheel)!r})\n"
        "from pathlib import Path\n"
        "from cascade.kaggle import kernel\nfrom cascade.stages import baseline\n"
        "assert 'torch' not in sys.modules\n"
        f"assert baseline.__file__.startswith({str(wheel)!r})\n"
        f"outline = kernel._competition(Path()).outline(Path({str(folder)!r}))\n"
        f"baseline.write(outline, Path({str(tmp_path / 'out')!r}))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert len(rows_of(tmp_path / "out" / "submission.csv")) == 9
