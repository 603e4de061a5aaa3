"""Fitting a config's numbers on folds: on what a run would rank, and never away from the config without a gain."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from cascade.base.runtime import ROOT
from cascade.competitions.map2025 import MAP2025
from cascade.config import schema as configs
from cascade.evaluation.folds import write_folds
from training import weights
from training.jobs.graph import NUMBERS

CONFIG = """
competition = "map2025"
[[retrieval]]
name = "r1"
[[retrieval.retriever]]
kind = "allowed"
weight = 0.001
[[retrieval.retriever]]
kind = "tfidf"
weight = 0.3
[ensemble]
weights = { r1 = 1.0 }
"""


def test_what_a_query_cannot_have_is_not_ranked_and_equals_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train.csv", "test.csv"):
        table = pd.read_csv(ROOT / "sample" / "map2025" / name, dtype=str, keep_default_na=False)
        table.head(200).to_csv(data / name, index=False)
    write_folds(MAP2025, data, tmp_path / "root" / "folds", 2, 0.0, seed=0)
    (tmp_path / "mine.toml").write_text(CONFIG)
    config = configs.load(tmp_path / "mine.toml")
    ranked: list[pd.DataFrame] = []
    blend = weights.Fold.blend

    def kept(fold: weights.Fold, *given: object) -> pd.DataFrame:
        table = blend(fold, *given)  # type: ignore[arg-type]
        assert fold.task.allowed is not None
        for query, rows in table.groupby("query_id"):
            assert {*rows["label_id"]} <= {*fold.task.labels_of(str(query))}
        ranked.append(table)
        return table

    monkeypatch.setattr(weights.Fold, "blend", kept)
    weights.fit(config, tmp_path / "root", 2)
    assert len(ranked) == 2 * 6 + 2, "five weights of TF-IDF and its own, on two folds, and the best once more"
    numbers = tomllib.loads((tmp_path / "root" / NUMBERS).read_text())
    allowed, tfidf = numbers["retrieval"]["retriever"]
    assert allowed["weight"] == 0.001, "as the config has it"
    assert tfidf["weight"] in (0.0, 0.3), "all weights but 0 rank alike: none of them displaces the config's own"
    assert numbers["ensemble"]["unseen_boost"] == 1.0
