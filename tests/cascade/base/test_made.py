"""Commands make their own files anew, and never touch one that they did not make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from cascade.base import folder, made
from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.evaluation import evaluate
from cascade.evaluation.folds import write_folds
from cascade.plan import command
from sample.generate.dataset import generate
from tests.conftest import write_folder
from tests.refusals import refused

Write = Callable[[Path, int], object]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("made") / "data")


def contents(path: Path) -> dict[str, bytes]:
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


@pytest.fixture(params=["folds", "sample"])
def write(request: pytest.FixtureRequest, data: Path) -> tuple[Write, str]:
    """The command, by its seed, and one of its files."""
    if request.param == "folds":
        return lambda out, seed: write_folds(EEDI, data, out, 2, 0.6, seed), "fold-1/test.csv"
    return lambda out, seed: generate(out, seed, 400, 20), "test.csv"


def test_what_was_made_is_made_anew_and_what_lies_beside_it_stays(write: tuple[Write, str], tmp_path: Path) -> None:
    make, name = write
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    make(out, 1)
    first = (out / name).read_bytes()
    make(out, 2)
    assert (out / name).read_bytes() != first and (out / "notes.txt").read_text() == "mine"
    assert not list(out.glob(".making-*"))


@pytest.mark.parametrize("own", ["own", "edited", "folder"])
def test_a_person_s_file_is_refused_by_name_and_nothing_is_written(
    write: tuple[Write, str], tmp_path: Path, own: str
) -> None:
    make, name = write
    out = tmp_path / "out"
    if own == "edited":
        make(out, 1)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    if own == "folder":
        (out / name).mkdir()
    else:
        (out / name).write_text("mine")
    before = contents(out)
    why = {"own": "is not listed in", "edited": "was changed since it was made", "folder": "is a folder where"}[own]
    with pytest.raises(StageError, match=rf"{name}: .*{why}.*; pass --out with a new folder"):
        make(out, 2)
    assert contents(out) == before


def test_the_same_bytes_may_be_anybody_s(data: Path, tmp_path: Path) -> None:
    """So folds that an older version made, or a copy of a sample, are no obstacle."""
    write_folds(EEDI, data, tmp_path, 2, 0.6, 1)
    (tmp_path / made.FILE).unlink()
    write_folds(EEDI, data, tmp_path, 2, 0.6, 1)
    assert made.read(tmp_path).keys() == {"folds.json"} | {f"fold-{n}/{name}" for n in (0, 1) for name in (
        "train.csv", "test.csv", "test_labels.csv", "misconception_mapping.csv")}  # fmt: skip


def test_a_replacement_that_was_cut_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> None:
        with made.replaced(tmp_path) as scratch:
            for name in ("a", "b"):
                (scratch / name).write_text(text)

    write("old")
    replace = Path.replace

    def cut(self: Path, target: Path) -> Path:
        if target.name == "b":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", cut)
        write("new")
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "b").read_text() == "old"
    write("newer")
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "newer"


def test_an_evaluation_empties_its_own_folders_and_refuses_others_before_it_begins(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def measure(_: object, __: Path, run: Path) -> list[dict[str, object]]:
        """What it leaves, without an engine."""
        measured.append(run)
        for name in ("candidates-r1.parquet", f"cache/{'0' * 64}.npy", "logs/embed-0.log", "ledger.jsonl"):
            (run / name).parent.mkdir(exist_ok=True)
            assert not (run / name).exists()
            (run / name).write_text("made")
        scores = {
            f"{score}{part}": 0.5 for score in ("map", "recall_25", "recall_100") for part in ("", "_seen", "_unseen")
        }
        return [{"system": "x", **scores, "seconds": 1.0, "queries": 2, "seen": 1, "unseen": 1}]

    monkeypatch.setattr(evaluate, "measure", measure)
    out, config = tmp_path / "out", ROOT / "configs" / "sample.toml"
    evaluate.evaluate(config, data, out, 0, None, 0.6, 0)
    (out / "tables/data/notes.txt").write_text("mine")
    evaluate.evaluate(config, data, out, 0, None, 0.6, 0)
    assert (out / "tables/data/notes.txt").read_text() == "mine" and len(measured) == 2
    for own in ("evaluate.csv", "tables/fold-1/mine.txt"):
        (out / own).parent.mkdir(parents=True, exist_ok=True)
        (out / own).write_text("mine")
        before = contents(out / own.split("/")[0]) if "/" in own else (out / own).read_bytes()
        with pytest.raises(StageError, match=own.replace("tables/fold-1/", "fold-1: contains ")):
            evaluate.evaluate(config, data, out, 2, None, 0.6, 0)
        assert len(measured) == 2
        assert (contents(out / own.split("/")[0]) if "/" in own else (out / own).read_bytes()) == before
        (out / own).unlink()


def test_a_plan_s_picture_is_drawn_anew_and_no_other_is_overwritten(tmp_path: Path) -> None:
    picture, config = tmp_path / "plan.png", ROOT / "configs" / "sample.toml"
    command.plan(config, ROOT / "sample", None, None, "", picture)
    command.plan(config, ROOT / "sample", None, None, "", picture)
    figure, _ = plt.subplots()
    figure.savefig(picture)
    plt.close(figure)
    before = picture.read_bytes()
    with refused(StageError, "exists, and plan did not make it", "plan.png", mend="pass --out"):
        command.plan(config, ROOT / "sample", None, None, "", picture)
    assert picture.read_bytes() == before


def test_a_profile_of_a_person_s_is_not_overwritten(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text((ROOT / "profiles" / "cpu.toml").read_text())
    with pytest.raises(StageError, match=r"mine\.toml: exists, and plan did not make it"):
        command.calibrate(ROOT / "configs/sample.toml", ROOT / "sample", [tmp_path / "ledger.jsonl"], None, "", profile)


def test_a_folder_in_the_way_of_a_file_is_refused(tmp_path: Path) -> None:
    with refused(StageError, "is a folder", mend="pass --out with a file"):
        folder.check_file(tmp_path, "plan")
