"""What the stage notebooks call: each function reads tables, does one stage's work and writes one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from cascade.base import clock, ledger
from cascade.base.errors import StageError
from cascade.config import schema as configs
from cascade.config.schema import ENSEMBLE, LanguageModel, Pipeline, PointwisePipeline, Retrieval
from cascade.config.selecting import RANKS
from cascade.models import placement, prompters
from cascade.processes import workers
from cascade.rankings import normalising, selection, tables
from cascade.scorers import writer
from cascade.scorers.shares import Share, Shares
from cascade.stages import checkpoints, one_card
from cascade.stages.context import RunContext
from cascade.stages.fusing import fuse, write_submission
from cascade.stages.reading import members, read_table, taken


def retrieve(context: RunContext, retrieval: str) -> pd.DataFrame:
    """Runs one `[[retrieval]]` over the test and writes `candidates-<name>.parquet`."""
    from cascade.retrievers.blend import Blend

    settings = context.config.retrieval_named(retrieval)
    queries = context.queries()
    with (
        ledger.phase(
            context.run,
            settings.stage,
            "retrieve",
            queries=len(queries),
            passages=_passages(context, settings),
        ) as facts,
        Blend(settings, context.config, context.cache) as blend,
    ):
        facts["embedded"], facts["trained"] = blend.embedded, blend.trained
        table = blend.retrieve(queries, context.task)
        tables.write(table, context.run / settings.table)
    if blend.left_out:  # the table counts all the same
        raise StageError("; ".join(blend.left_out), key=f"retrieval '{retrieval}'")
    return table


def _passages(context: RunContext, retrieval: Retrieval) -> int:
    """How many texts are read beside the queries, whatever the test: labels, and train where a part learns from it."""
    reads_train = any(part.kind in ("neighbours", "classifier") for part in retrieval.retriever)
    return len(context.task.labels) + (len(context.task.train) if reads_train else 0)


def rerank(context: RunContext, pipeline: str) -> pd.DataFrame:
    """Runs one `[[pipeline]]` and writes `ranking-<name>.parquet`, chunk by chunk, least-sure queries first."""
    from cascade.rerankers.opening import open_reranker

    settings = context.config.pipeline_named(pipeline)
    stage, table = settings.stage, context.run / settings.table
    rows, saving = taken(context, settings)
    if rows.empty:
        raise StageError(
            "its select leaves no query to rerank",
            key=f"pipeline '{pipeline}'",
            mend="loosen it, or remove the pipeline",
        )
    done = checkpoints.prepare(table, context.resume)
    order = [query for query in _least_sure_first(context, settings, rows) if query not in done]
    names = context.task.texts
    queries = context.queries().set_index("query_id", drop=False)
    by_query = dict(iter(rows.groupby("query_id")))
    texts = rows["label_id"].map(names).str.len().groupby(rows["query_id"]).sum()
    weights = [len(text) + texts[query] for query, text in zip(order, queries.loc[order]["text"].tolist(), strict=True)]
    tasks = [
        (queries.loc[order[part]].reset_index(drop=True), pd.concat([by_query[query] for query in order[part]]))
        for part in checkpoints.share_out(weights, settings.chunk, len(_places(context, settings)))
    ]
    with one_card.canaries_of(context, settings, _places(context, settings) if tasks else []) as made:
        arguments = (settings, context.config, names, made)
        facts = _in_chunks(context, stage, settings, table, tasks, len(done), open_reranker, arguments)
    if settings.select is not None:
        sentence = saving.sentence(facts.get("tokens", 0), facts.get("prompts", 0))
        print(f"{stage}: {sentence}")
        selected = {"queries": saving.queries, "of_queries": saving.all_queries, "candidates": len(rows)}
        ledger.record(context.run, stage, "select", clock.now(), clock.now(), decision=sentence, selected=selected)
    return checkpoints.gather(table, facts.get("decision", ""), _finish(context, settings))


def _finish(context: RunContext, pipeline: Pipeline) -> Callable[[pd.DataFrame], pd.DataFrame] | None:
    """What is made of all chunks' scores together, where a score goes by the others'."""
    if not isinstance(pipeline, PointwisePipeline) or pipeline.normalise != "rank":
        return None
    groups = None if pipeline.by is None else context.task.queries.set_index("query_id")[pipeline.by]
    return partial(normalising.rank_shares, groups=groups)


def reason(context: RunContext) -> pd.DataFrame:
    """Runs the config's `[reason]` over the test and writes `reasons.parquet`, chunk by chunk."""
    settings = context.config.reason
    if settings is None:
        raise StageError("has no [reason] to run", path=context.config.path, mend="add it")
    table = context.run / settings.table
    done = checkpoints.prepare(table, context.resume)
    queries = context.task.queries[~context.task.queries["query_id"].isin(done)]
    weights = [len(text) for text in queries["text"].tolist()]
    tasks = [
        (queries.iloc[part].reset_index(drop=True),)
        for part in checkpoints.share_out(weights, settings.chunk, len(_places(context, settings)))
    ]
    facts = _in_chunks(
        context, settings.stage, settings, table, tasks, len(done), writer.open_writer, (settings, context.config)
    )
    return checkpoints.gather(table, facts.get("decision", ""))


def _in_chunks(
    context: RunContext,
    stage: str,
    settings: Any,
    table: Path,
    tasks: list[tuple[Any, ...]],
    done: int,
    make: Any,
    arguments: tuple[Any, ...],
) -> dict[str, Any]:
    """Works `tasks` through on the stage's pool; returns the ledger's counts."""
    start = clock.now()
    pool = workers.Pool(stage, _places(context, settings), context.logs, make, arguments, context.config.environment)
    facts: dict[str, Any] = {}
    pipeline = settings if isinstance(settings, Pipeline) else None
    shares = Shares(prompters.answers(settings))

    def decide(sentence: str) -> None:
        print(f"{stage}: {sentence}", flush=True)
        ledger.record(context.run, stage, ledger.BUDGET, clock.now(), clock.now(), decision=sentence)

    def measure(found: Sequence[Share]) -> None:
        shares.add(found)
        if "warnings" not in facts and (warning := shares.warning()):
            facts["warnings"] = [warning]
            print(f"warning: {stage}: {warning}", flush=True)

    try:
        with pool:
            checkpoints.work_through(pool, tasks, table, context.deadline, facts, done, pipeline, decide, measure)
    finally:
        if measured := shares.facts():
            facts["option_share"] = measured
        warned = [shares.warning(), *(each.get("warning", "") for each in facts.get("canaries", ()))]
        facts["warnings"] = [warning for warning in dict.fromkeys(warned) if warning]
        if pool.losses:
            facts["losses"] = pool.losses
        loaded = start + pool.load_seconds
        ledger.record(context.run, stage, "load", start, loaded)
        ledger.record(context.run, stage, "score", loaded, clock.now(), **facts)
    return facts


def _places(context: RunContext, settings: Pipeline | configs.Reason) -> list[workers.DeviceSlot]:
    devices = placement.device_list(context.config)
    together = isinstance(settings, LanguageModel) and settings.parallel == "tensor"
    if together:
        missing = [device for device in context.config.devices or [] if device not in devices]
        placement.check_tensor(settings.name, devices, missing)
    return workers.device_slots(devices, together)


def _least_sure_first(context: RunContext, pipeline: Pipeline, rows: pd.DataFrame) -> list[str]:
    """The queries of `rows`: where an earlier pipeline's scores tell, those with the smallest margin first.

    A stage that is stopped early has then worked where most was to be won.
    """
    order = [str(query) for query in rows["query_id"].unique()]
    name = (pipeline.select and pipeline.select.by) or pipeline.candidates
    earlier = context.config.find_pipeline(name)
    if earlier is None or earlier.scale == RANKS or (ranking := read_table(context, name)) is None:
        return order
    margin = selection.top_scores(ranking)["margin"].to_dict()
    return sorted(order, key=lambda query: margin.get(query, -1.0))


def ensemble(context: RunContext) -> pd.DataFrame:
    """Fuses the members that are there, writes `ranking-ensemble.parquet` and replaces submission.csv."""
    with ledger.phase(context.run, ENSEMBLE, "fuse"):
        rankings = members(context)
        if not rankings:
            names = ", ".join(context.config.ensemble.weights)
            raise StageError(
                f"contains no table of {names} to combine", path=context.run, mend="run retrieve.ipynb first"
            )
        table = fuse(context, rankings)
        tables.write(table, context.run / context.config.ensemble.table)
        write_submission(context, table, list(rankings))
    return table
