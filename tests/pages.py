"""Finished runs for the tests of their page, written by hand: which rank a label has, what was decided, what failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import folder as folders
from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.rankings import tables
from cascade.stages import baseline
from cascade.stages.context import RunContext
from tests.runs import Run

DEPTH = 25
# Rank of the label, 0 for absent; without an entry the ranking lacks the query.
RANKS = {
    "r1": {"20_A": 1, "20_B": 4, "20_D": 9, "21_B": 2, "21_D": 12, "22_B": 0, "22_C": 3, "21_C": 1, "22_A": 1},
    "ce": {"20_A": 1, "20_B": 1, "20_D": 10, "21_B": 5, "22_C": 2},
    "ensemble": {"20_A": 1, "20_B": 2, "20_D": 20, "21_B": 4, "21_D": 12, "22_B": 0, "22_C": 2, "21_C": 1, "22_A": 1},
}
BEGAN = 1_800_000_000.0


def small(folder: Path) -> RunContext:
    """Three questions; `folder` is the fixture's, which has the labels of 7 of their 9 queries."""
    context = RunContext(configs.load(Run(folder.parent, "").write_config()), EEDI.read(folder), folder.parent / "out")
    folders.claim(context.run)
    baseline.write(EEDI.outline(folder), context.run)
    labels = {} if context.task.truth is None else dict(context.task.truth.to_numpy().tolist())
    for name, ranks in RANKS.items():
        rows = [row for query, rank in ranks.items() for row in _ranking(query, labels.get(query, 0), rank)]
        tables.write(_table(rows), context.config.table_path(name, context.run))
    write_ledger(context.run)
    return context


def write_ledger(run: Path) -> None:
    ledger.record(run, "zero", ledger.STAGE, BEGAN, BEGAN + 2, status="ok", deadline=BEGAN + 120)
    ledger.record(run, "retrieve-r1", "retrieve", BEGAN + 3, BEGAN + 20, queries=9, peak_memory_mb=1500.0)
    ledger.record(run, "retrieve-r1", ledger.STAGE, BEGAN + 2, BEGAN + 22, status="ok", peak_memory_mb=1500.0)
    ledger.record(run, "rerank-ce", "score", BEGAN + 30, BEGAN + 80, decision="stopped after 5 of 9", tokens=12345)
    ledger.record(
        run, "rerank-ce", ledger.STAGE, BEGAN + 22, BEGAN + 90, status="exit code 1: <no memory>", mend="use <less>"
    )
    ledger.record(run, "ensemble", ledger.STAGE, BEGAN + 90, BEGAN + 100, status="ok")


def _ranking(query: str, label: int, rank: int) -> list[tuple[str, int]]:
    others = [id_ for id_ in range(DEPTH + 1) if id_ != label][: DEPTH if rank == 0 else DEPTH - 1]
    ids = others if rank == 0 else [*others[: rank - 1], label, *others[rank - 1 :]]
    return [(query, id_) for id_ in ids]


def _table(rows: list[tuple[str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["query_id", "label_id"]).astype({"label_id": np.int32})
    rank = table.groupby("query_id").cumcount().add(1)
    scores = (1 / rank).astype(np.float32)
    return table.assign(score=scores, rank=rank.astype(np.int32))


def sample(out: Path) -> RunContext:
    """The whole sample with two pipelines' worth of random rankings, to see a page of its size."""
    context = RunContext(configs.load(ROOT / "configs" / "cross-encoder.toml"), EEDI.read(ROOT / "sample"), out)
    folders.claim(out)
    baseline.write(EEDI.outline(ROOT / "sample"), out)
    ids, queries = (
        context.task.labels["label_id"].to_numpy(),
        context.task.queries["query_id"],
    )
    random = np.random.default_rng(0)
    for name in ("r1", "ce", "ensemble"):
        scores = random.random((len(queries), len(ids)), dtype=np.float32)
        tables.write(tables.from_matrix(queries.tolist(), ids, scores, 100), context.config.table_path(name, out))
    write_ledger(out)
    return context
