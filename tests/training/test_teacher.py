"""A larger model's ranking tables as targets: its shares of a query, mixed with the right answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from cascade.base.errors import DataError, TableError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.rankings import tables
from cascade.scorers import one_pass
from tests.llm import LISTWISE, MODEL, POINTWISE, make_config
from tests.refusals import refused
from training import reranker
from training.jobs import provenance
from training.reranker import Examples, Settings
from training.teacher import Teacher

SAMPLE = ROOT / "sample"


def table(folder: Path, name: str, scores: dict[str, dict[int, float]]) -> Path:
    rows = [(query, label, score) for query, each in scores.items() for label, score in each.items()]
    tables.write(tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"])), folder / name)
    return folder / name


def test_shares_are_normed_log_odds_are_softmaxed_and_what_is_unknown_is_the_last(tmp_path: Path) -> None:
    shares = Teacher([table(tmp_path, "a.parquet", {"1_A": {5: 0.6, 6: 0.2}, "2_B": {5: 1.0}})], ["1_A", "2_B"])
    assert shares.shares("1_A", [6, 5]) == pytest.approx([0.25, 0.75])
    assert shares.shares("1_A", [7, 5, 6]) == pytest.approx([0.2, 0.6, 0.2])
    assert shares.shares("1_A", [7, 8]) is None and shares.shares("3_C", [5]) is None
    odds = Teacher([table(tmp_path, "b.parquet", {"1_A": {5: 3.0, 6: 1.0}})], ["1_A"])
    assert odds.shares("1_A", [5, 6]) == pytest.approx(np.exp([3, 1]) / np.exp([3, 1]).sum())


def test_tables_of_several_folds_are_one_teacher_of_one_kind_of_scores(tmp_path: Path) -> None:
    one, two = (table(tmp_path, f"{name}.parquet", {query: {5: score, 6: 0.1}})
                for name, query, score in (("a", "1_A", 0.4), ("b", "2_B", 2.1)))  # fmt: skip
    both = Teacher([one, two], ["1_A", "2_B", "3_C"])
    assert both.shares("1_A", [5, 6]) == pytest.approx(np.exp([0.4, 0.1]) / np.exp([0.4, 0.1]).sum())
    assert len(both.digests) == 2 and len(set(both.digests)) == 2


def test_a_teacher_of_other_queries_is_refused_and_a_missing_table_named(tmp_path: Path) -> None:
    path = table(tmp_path, "a.parquet", {"1_A": {5: 0.6}})
    with refused(DataError, "none of its queries", "a.parquet", mend="whose test"):
        Teacher([path], ["9_A"])
    with refused(TableError, "no such table", "gone.parquet", mend="run"):
        Teacher([tmp_path / "gone.parquet"], ["1_A"])


@pytest.mark.parametrize("kind", [POINTWISE, LISTWISE])
def test_the_loss_goes_from_the_right_answer_to_the_teachers_shares(tmp_path: Path, kind: str) -> None:
    config = make_config(tmp_path, kind + "top_k = 4\n")
    task = EEDI.read(SAMPLE)
    query = {**task.train.iloc[0].to_dict(), "reason": ""}
    right, others = int(query["label_id"]), [label for label in task.seen if label != query["label_id"]][:3]
    path = table(tmp_path, "a.parquet", {query["query_id"]: {others[0]: 0.7, right: 0.3}})
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    teacher, losses = Teacher([path], [query["query_id"]]), []
    for taught in (0.0, 0.5, 1.0):
        examples = Examples(
            reranker.pipeline_of(config, "p"), config, task, {query["query_id"]: others}, teacher, taught
        )
        losses.append(examples.loss(model, query, one_pass.can_pack(model, examples.pad)).item())
    bare = Examples(reranker.pipeline_of(config, "p"), config, task, {query["query_id"]: others})
    assert losses[0] == pytest.approx(bare.loss(model, query, True).item(), abs=1e-5)
    assert abs(losses[2] - losses[0]) > 1e-3 and losses[1] == pytest.approx((losses[0] + losses[2]) / 2, abs=1e-4)


def test_a_taught_adapter_says_by_whom(tmp_path: Path) -> None:
    text = POINTWISE.replace("tiny-pointwise", "mine") + "top_k = 4\n"
    config = make_config(tmp_path, text).model_copy(update={"adapters": f"../{tmp_path.name}/adapters"})
    task, out = EEDI.read(SAMPLE), tmp_path / "out" / "mine"
    path = table(tmp_path, "a.parquet", {query: {1: 0.7, 2: 0.3} for query in task.train["query_id"]})
    reranker.train(SAMPLE, config, "p", out, Settings(4, taught=0.7), teacher=[path])
    told = provenance.read(out)["settings"]
    assert told["taught"] == 0.7 and len(told["teacher"]) == 1 and len(told["teacher"][0]) == 64
