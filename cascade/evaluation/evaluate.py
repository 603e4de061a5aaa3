"""Cross-validation on a labelled folder: every retriever, the rerankers, the ensemble, with and without the boost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from cascade.base import folder as folders
from cascade.base import made
from cascade.base.errors import DataError
from cascade.competitions import registry
from cascade.config import schema as configs
from cascade.config.parts import DensePart, Part
from cascade.config.schema import Config, Retrieval
from cascade.evaluation.folds import write_folds
from cascade.models.checks.target import this_machine
from cascade.rankings import fusion, metrics
from cascade.retrievers.allowed import best_allowed
from cascade.retrievers.blend import Blend
from cascade.run import check as checking
from cascade.stages import baseline, fusing, reading, stages
from cascade.stages.context import RunContext

T = TypeVar("T")
FILES = ("evaluate.csv", "evaluate.png")
DEPTH = 100  # how deep every list is ranked, for recall@100


def evaluate(
    config: Path,
    data: Path,
    out: Path,
    folds: int,
    questions: int | None,
    unseen: float,
    seed: int,
    engine: str = "",
) -> None:
    """Writes evaluate.csv and evaluate.png under `out` and prints the table.

    Validates on `folds` folds of `data`/train.csv, or with 0 on its own test.csv and test_labels.csv.
    """
    settings = configs.load(config, engine)
    checking.require(
        checking.facts(settings, this_machine(begins=True), None if folds else registry.of(settings).read(data))
    )
    made.check(out, FILES)
    for name in (f"fold-{number}" for number in range(folds)) if folds else [data.name]:
        folders.check(out / "tables" / name)
    console = Console(width=max(120, Console().width))
    data_folders = (
        write_folds(registry.of(settings), data, out / "folds", folds, unseen, seed, questions) if folds else [data]
    )
    rows: list[dict[str, object]] = []
    for folder in data_folders:
        for row in measure(settings, folder, emptied(out / "tables" / folder.name, settings)):
            rows.append({"fold": folder.name, **row})
            console.print(f"{folder.name}  {row['system']:<28} MAP {row['map']:.4f}  {row['seconds']:6.1f} s")
    table = pd.DataFrame(rows)
    means = summarise(table)
    pairs = f"{means['queries'].iloc[0]} pairs, {means['unseen'].iloc[0] / means['queries'].iloc[0]:.0%} unseen"
    depth = registry.of(settings).depth
    console.print(as_rich(means, depth, f"{data}: {f'{folds} folds' if folds else 'its own test'}, {pairs}"))
    with made.replaced(out) as scratch:
        table.to_csv(scratch / FILES[0], index=False)
        draw(means, depth, scratch / FILES[1])
    console.print("  ".join(str(out / name) for name in FILES))


def emptied(run: Path, config: Config) -> Path:
    """A fold's run folder without what an earlier evaluation left, or its seconds would not be those of a first run.

    StageError where no evaluation made it.
    """
    folders.claim(run)
    record = folders.read(run) or {}
    folders.remove([*folders.made(run, record), *folders.embeddings(run)])
    folders.update(run, stages={stage.stage: {"table": stage.table} for stage in config.stages(off=True)})
    return run


def measure(config: Config, folder: Path, run: Path, proves: bool = True) -> Iterator[dict[str, Any]]:
    """One row a system on the labelled test of `folder`: its name, `metrics.report`, seconds, and the pairs counted.

    proves: see `RunContext`.
    """
    task = registry.of(config).read(folder)
    labels = task.truth
    if labels is None:
        raise DataError(
            "has no test_labels.csv to compute the score with",
            path=folder,
            mend="add it, or evaluate on folds of train.csv",
        )
    if (
        config.ensemble.unseen_share is None
    ):  # all else looks at one query alone, so those that nobody scores are spared
        labelled = task.queries["query_id"].isin(labels["query_id"])
        task = replace(task, queries=task.queries[labelled].reset_index(drop=True))
    seen = labels["label_id"].isin(task.seen)
    counts = {"queries": len(seen), "seen": int(seen.sum()), "unseen": int((~seen).sum())}
    for system, table, seconds in systems(RunContext(config, task, run, proves=proves)):
        yield {
            "system": system,
            **metrics.report(table, labels, task.seen, task.depth, (task.depth, DEPTH)),
            "seconds": seconds,
            **counts,
        }


def systems(context: RunContext) -> Iterator[tuple[str, pd.DataFrame, float]]:
    """Name, ranking and seconds of each system on the context's test, simplest first.

    Each stage is run by what its notebook calls, with time for all of it, and the last system is what submission.csv
    has. Parts of a retrieval and what they are without their adapters are ranked for this table alone. The seconds of
    a part are its own (the neighbours find the queries embedded by the dense part), those of a blend its parts'; those
    of the ensemble hold what it builds on.
    """
    config = context.config
    _, everything = timed(partial(baseline.write, context.task.competition.outline(context.task.folder), context.run))
    zero_table = reading.zero_table(context)
    assert zero_table is not None
    yield "submission zero", zero_table, everything
    if config.reason is not None and config.reason.enabled:
        everything += timed(partial(stages.reason, context))[1]
    for retrieval in config.retrieval:
        total = 0.0
        for system, table, seconds, counts in parts(context, retrieval):
            total += seconds if counts else 0.0
            yield system, table, seconds
        everything += total
        yield f"{retrieval.name}: blend", stages.retrieve(context, retrieval.name), total
    for pipeline in config.pipeline:
        # As the conductor does: what its select leaves nothing of is no stage.
        if not pipeline.enabled or not (wanted := reading.expected(context, pipeline.name)):
            continue
        made_, seconds = timed(partial(stages.rerank, context, pipeline.name))
        everything += seconds
        if len(lacking := wanted - set(made_["query_id"])):
            print(
                f"warning: {pipeline.name} failed for {len(lacking)} of {len(wanted)} queries: "
                f"these are scored by their earlier ranking"
            )
        # A query that it was told to skip keeps the order it was given.
        yield f"{pipeline.name}: {pipeline.kind}", reading.candidates(context, pipeline.name), seconds
    yield "ensemble", fusing.fuse(context, reading.members(context), boosted=False), everything
    yield "ensemble + boost", stages.ensemble(context), everything
    yield "submission", reading.submitted(context), everything


def parts(context: RunContext, retrieval: Retrieval) -> Iterator[tuple[str, pd.DataFrame, float, bool]]:
    """A retrieval's parts by the code that blends them: name, ranking, seconds, and whether the blend has it.

    What the adapters must beat is not in it: a dense part without its adapter, and its rank fusion with TF-IDF.
    """
    queries, task = context.queries(), context.task
    kinds: list[str] = []
    words: pd.DataFrame | None = None
    with Blend(retrieval, context.config, context.cache) as blend:

        def ranked(part: Part) -> tuple[pd.DataFrame, float]:
            scores, seconds = timed(partial(blend.part_scores, part, queries, task))
            return best_allowed(queries["query_id"].tolist(), task, [scores], DEPTH), seconds

        for part in retrieval.retriever:
            kinds.append(part.kind)
            again = kinds.count(part.kind)  # two of a kind are two systems
            table, seconds = ranked(part)
            words = table if part.kind == "tfidf" else words
            yield f"{retrieval.name}: {part.kind}{f' {again}' if again > 1 else ''}", table, seconds, True
        for part in retrieval.retriever:
            if isinstance(part, DensePart) and part.adapter:
                table, seconds = ranked(part.model_copy(update={"adapter": None}))
                yield f"{retrieval.name}: dense, zero-shot", table, seconds, False
                if words is not None:
                    fused = fusion.fuse({"tfidf": words, "dense": table}, {"tfidf": 1.0, "dense": 1.0})
                    yield f"{retrieval.name}: tfidf + zero-shot", fusion.to_table(fused), seconds, False


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """One row a system: means over folds weighted by their queries (all, seen or unseen), seconds summed."""
    means = {}
    for system, rows in table.groupby("system", sort=False):
        row = {}
        for column in rows.columns:
            if column.startswith(("map", "recall")):
                weight = rows[next((part for part in ("unseen", "seen") if column.endswith(f"_{part}")), "queries")]
                known = rows[column].notna() & (weight > 0)
                row[column] = float(np.average(rows[column][known], weights=weight[known])) if known.any() else np.nan
        means[system] = {**row, "seconds": float(rows["seconds"].sum()), **rows[["queries", "seen", "unseen"]].sum()}
    return pd.DataFrame.from_dict(means, orient="index")


def as_rich(means: pd.DataFrame, depth: int, title: str) -> Table:
    columns = {"map": f"MAP@{depth}", "map_seen": "seen", "map_unseen": "unseen"}
    for k in (depth, DEPTH):
        columns |= {f"recall_{k}": f"recall@{k}", f"recall_{k}_unseen": "unseen"}
    shown = Table(title=title)
    shown.add_column("system")
    for label in (*columns.values(), "seconds"):
        shown.add_column(label, justify="right")
    for system, row in means.iterrows():
        shown.add_row(str(system), *(f"{row[key]:.3f}" for key in columns), f"{row['seconds']:.1f}")
    return shown


def draw(means: pd.DataFrame, depth: int, path: Path) -> None:
    """Bars of MAP over all, seen and unseen pairs, a group a system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(means) + 1.5), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(means))[::-1]
    parts = (("map_seen", "seen", "#56B4E9"), ("map_unseen", "unseen", "#E69F00"), ("map", "all", "#333333"))
    for step, (column, label, colour) in enumerate(parts):
        axes.barh(place + 0.27 * (1 - step), means[column], 0.25, label=label, color=colour)
    for y, value in zip(place, means["map"], strict=True):
        axes.text(value + 0.003, y - 0.27, f"{value:.3f}", va="center", fontsize=8)
    axes.set_yticks(place, means.index)
    axes.set_xlabel(f"MAP@{depth}")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
