"""What an evaluation scores is what a run of the same config would leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cascade.base import folder as folders
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.evaluation.evaluate import measure, systems
from cascade.rankings import metrics
from cascade.stages import baseline, reading, stages
from cascade.stages.context import RunContext
from tests import pages
from tests.conftest import set_cell
from tests.eedi import rows_of
from tests.runs import Run
from tests.toy import replace

FEW = {"20_A": 3, "20_B": 1, "20_D": 2, "21_B": 1, "22_C": 2}  # ranks of the label in a list of three


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> configs.Config:
    """A TF-IDF retrieval and a pipeline that ranks three candidates of some of the queries; ce alone is fused."""
    path = Run(folder.parent, "").write_config()
    replace(path, "{ ce = 1.0, r1 = 0.5 }", "{ ce = 1.0 }")
    monkeypatch.setattr(stages, "rerank", rerank)
    return configs.load(path)


def rerank(context: RunContext, pipeline: str) -> pd.DataFrame:
    labels = dict(zip(context.task.truth["query_id"], context.task.truth["label_id"], strict=True))
    rows = [row for query, rank in FEW.items() for row in pages._ranking(query, labels[query], rank)[:3]]
    table = pages._table(rows)
    pages.tables.write(table, context.config.table_path(pipeline, context.run))
    return table


def run_of(config: configs.Config, folder: Path, out: Path) -> RunContext:
    """The stages one after the other, as the notebooks call them, over the whole test."""
    context = RunContext(config, EEDI.read(folder), out)
    folders.claim(out)
    baseline.write(EEDI.outline(folder), out)
    for retrieval in config.retrieval:
        stages.retrieve(context, retrieval.name)
    for pipeline in config.pipeline:
        stages.rerank(context, pipeline.name)
    stages.ensemble(context)
    return context


def evaluated(config: configs.Config, folder: Path, out: Path) -> dict[str, dict[str, Any]]:
    return {row["system"]: row for row in measure(config, folder, out)}


def test_each_system_is_what_the_stage_leaves(config: configs.Config, folder: Path, tmp_path: Path) -> None:
    context, rows = run_of(config, folder, tmp_path / "run"), evaluated(config, folder, tmp_path / "evaluated")
    labels, seen = context.task.truth, context.task.seen
    assert labels is not None
    left = {
        "submission zero": reading.zero_table(context), "r1: blend": reading.read_table(context, "r1"),
        "ce: cross-encoder": reading.candidates(context, "ce"),
        "ensemble + boost": reading.read_table(context, "ensemble"),
        "submission": reading.submitted(context),
    }  # fmt: skip
    assert [*left][:1] == [*rows][:1] and [*left][-1] == [*rows][-1] and left.keys() <= rows.keys()
    for name, table in left.items():
        assert table is not None
        expected = metrics.report(table, labels, seen, 25, (25, 100))
        assert {key: rows[name][key] for key in expected} == pytest.approx(expected, nan_ok=True), name


def test_the_submission_is_scored_with_what_its_short_rows_are_filled_from(
    config: configs.Config, folder: Path, tmp_path: Path
) -> None:
    """The fusion has three ids of five queries and none of the rest; the file has 25 of each."""
    rows = evaluated(config, folder, tmp_path / "out")
    assert rows["submission"]["map"] > rows["ensemble + boost"]["map"]
    assert rows["submission"]["recall_25"] > rows["ensemble + boost"]["recall_25"]
    assert len(rows_of(tmp_path / "out/submission.csv")) == 9


def test_a_retrieval_is_scored_as_deep_as_it_is_kept(config: configs.Config, folder: Path, tmp_path: Path) -> None:
    context = RunContext(config, EEDI.read(folder), tmp_path / "out")
    depths = {name: table["rank"].max() for name, table, _ in systems(context)}
    assert (depths["r1: blend"], depths["r1: tfidf"]) == (25, 30)  # its top_k; all of the misconceptions


def test_a_share_of_all_queries_is_one_of_those_without_a_label_too(
    config: configs.Config, folder: Path, tmp_path: Path
) -> None:
    for column in ("MisconceptionAId", "MisconceptionCId", "MisconceptionDId"):
        for row in (1, 2, 3):
            set_cell(folder / "test_labels.csv", row, column, "")
    replace(config.path, "unseen_boost = 1.2", "unseen_share = 0.6")
    replace(config.path, "{ ce = 1.0 }", "{ r1 = 1.0 }")
    shared = configs.load(config.path)
    shared = shared.model_copy(update={"pipeline": []})
    context = run_of(shared, folder, tmp_path / "run")
    systems_ = {}
    for name, table, _ in systems(RunContext(shared, EEDI.read(folder), tmp_path / "whole")):
        systems_[name] = table
    pd.testing.assert_frame_equal(systems_["ensemble + boost"], reading.read_table(context, "ensemble"))
    row = evaluated(shared, folder, tmp_path / "out")["submission"]
    assert row["queries"] == 3
    assert len(reading.read_table(RunContext(shared, EEDI.read(folder), tmp_path / "out"), "ensemble")) == 9 * 25


def test_a_pipeline_that_is_left_no_query_is_no_system_as_it_is_no_stage(
    config: configs.Config, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(config.path, "{ ce = 1.0 }", "{ r1 = 1.0 }")
    monkeypatch.setattr(reading, "expected", lambda *_: set())
    rows = evaluated(configs.load(config.path), folder, tmp_path / "out")
    assert "ce: cross-encoder" not in rows and "submission" in rows


def test_queries_that_a_pipeline_failed_for_are_told(
    config: configs.Config, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(config, folder, tmp_path / "out")
    assert "warning: ce failed for 2 of 7 queries: these are scored by their earlier ranking" in capsys.readouterr().out


def test_two_parts_of_a_kind_are_two_systems(config: configs.Config, folder: Path, tmp_path: Path) -> None:
    replace(
        config.path, 'kind = "tfidf"\n', 'kind = "tfidf"\n\n[[retrieval.retriever]]\nkind = "tfidf"\nweight = 2.0\n'
    )
    rows = evaluated(configs.load(config.path), folder, tmp_path / "out")
    assert [name for name in rows if name.startswith("r1: ")] == ["r1: tfidf", "r1: tfidf 2", "r1: blend"]
