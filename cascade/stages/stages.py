"""What the stage notebooks call: each function reads tables, does one stage's work and writes one table."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cascade.base import clock, ledger, manifest
from cascade.base import folder as folders
from cascade.base.errors import StageError, TableError
from cascade.competitions import eedi as csvs
from cascade.competitions import submission
from cascade.config import schema as configs
from cascade.config.schema import ENSEMBLE, REASON, LanguageModel, Pipeline, Retrieval, TournamentPipeline
from cascade.models import placement, prompters
from cascade.processes import workers
from cascade.rankings import fusion, reasons, selection, tables
from cascade.scorers import writer
from cascade.scorers.shares import Share, Shares
from cascade.stages import baseline, checkpoints
from cascade.stages.context import Bench


def retrieve(bench: Bench, retrieval: str) -> pd.DataFrame:
    """Runs one `[[retrieval]]` over the test and writes `candidates-<name>.parquet`."""
    from cascade.retrievers.blend import Blend

    settings = bench.config.retrieval_named(retrieval)
    queries = bench.queries()
    with (
        ledger.phase(
            bench.run, f"retrieve-{retrieval}", "retrieve", queries=len(queries), passages=_passages(bench, settings)
        ) as facts,
        Blend(settings, bench.config, bench.cache) as blend,
    ):
        facts["embedded"] = blend.embedded
        table = blend.retrieve(queries, bench.competition)
        tables.write(table, bench.config.table_path(retrieval, bench.run))
    if blend.left_out:  # the table counts all the same
        raise StageError(f"retrieval '{retrieval}': {'; '.join(blend.left_out)}")
    return table


def _passages(bench: Bench, retrieval: Retrieval) -> int:
    """How many texts are read beside the queries, whatever the test: misconceptions, and train for neighbours."""
    reads_train = any(part.kind == "neighbours" for part in retrieval.retriever)
    return len(bench.competition.misconceptions) + (len(bench.competition.train) if reads_train else 0)


def candidates(bench: Bench, name: str) -> pd.DataFrame:
    """The table of retrieval or pipeline `name`; what it lacks, queries or all, is read from what it judged by.

    That is the ranking its `select` goes by, which found those queries sure or hopeless, else its own
    input. What a retrieval lacks is read from submission zero; StageError where that is missing too.
    """
    own = read_table(bench, name)
    if own is not None and own["query_id"].nunique() == len(bench.competition.test):
        return own
    if any(name == retrieval.name for retrieval in bench.config.retrieval):
        below = zero_table(bench)
    else:
        pipeline = bench.config.pipeline_named(name)
        below = candidates(bench, (pipeline.select and pipeline.select.by) or pipeline.candidates)
    if own is None:
        if below is None:
            path = bench.config.table_path(name, bench.run)
            raise StageError(f"{path}: no such table; run the stage that makes it first")
        return below
    if below is None:
        return own
    return pd.concat([own, below[~tables.among(below["query_id"], set(own["query_id"].unique()))]], ignore_index=True)


def zero_table(bench: Bench) -> pd.DataFrame | None:
    """Submission zero as a ranking whose score is 1/rank."""
    return tables.from_rows(bench.competition.test["query_id"], _zero_rows(bench))


def _zero_rows(bench: Bench) -> dict[str, list[int]]:
    path = bench.run / baseline.FILE
    try:
        return submission.read(path) if path.is_file() else {}
    except TableError as error:
        print(f"left out: {error}")
        return {}


def read_table(bench: Bench, name: str) -> pd.DataFrame | None:
    """The table of that name; None where it is not there, not enabled or, said aloud, where it is broken."""
    if any(pipeline.name == name and not pipeline.enabled for pipeline in bench.config.pipeline):
        return None
    path = bench.config.table_path(name, bench.run)
    try:
        return check_fits(bench, tables.read(path), path) if path.is_file() else None
    except TableError as error:
        print(f"left out: {error}")
        return None


def check_fits(bench: Bench, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table itself, or a TableError where it speaks of queries or misconceptions that the data lacks."""
    for column, known in (
        ("query_id", bench.competition.test["query_id"]),
        ("misconception_id", bench.competition.misconceptions["misconception_id"]),
    ):
        there = set(known)  # not `isin`: pandas' is slow for Arrow strings
        strange = [each for each in table[column].unique().tolist() if each not in there] if column in table else []
        if strange:
            raise TableError(f"{path}: {column} {strange[0]} is not in the data; run it again")
    return table


def taken(bench: Bench, pipeline: Pipeline) -> tuple[pd.DataFrame, selection.Saving]:
    """What a pipeline is to score, and what its `select` spares it."""
    rows, given, by = _selected(bench, pipeline)
    return rows, selection.saving(pipeline, given, rows, by, bench.competition.labels)


def _selected(bench: Bench, pipeline: Pipeline) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """What a pipeline is to score, of which ranking, and the one it selects by."""
    given = candidates(bench, pipeline.candidates)
    by = read_table(bench, pipeline.select.by) if pipeline.select and pipeline.select.by else None
    return selection.take(pipeline, given, by, bench.competition.seen), given, by


def expected(bench: Bench, stage: str) -> set[str]:
    """The queries that the reasoning stage, a retrieval, a pipeline or the ensemble is to leave in its table."""
    pipeline = next((pipeline for pipeline in bench.config.pipeline if pipeline.name == stage), None)
    rows = bench.competition.test if pipeline is None else _selected(bench, pipeline)[0]
    return set(rows["query_id"].unique())


def rerank(bench: Bench, pipeline: str) -> pd.DataFrame:
    """Runs one `[[pipeline]]` and writes `ranking-<name>.parquet`, chunk by chunk, least-sure queries first."""
    from cascade.rerankers.opening import open_reranker

    settings = bench.config.pipeline_named(pipeline)
    stage, table = f"rerank-{pipeline}", bench.config.table_path(pipeline, bench.run)
    rows, saving = taken(bench, settings)
    if rows.empty:
        raise StageError(f"pipeline '{pipeline}': its select leaves no query to rerank; loosen it or run without it")
    done = checkpoints.prepare(table, bench.resume)
    order = [query for query in _least_sure_first(bench, settings, rows) if query not in done]
    names = bench.competition.names
    queries = bench.queries().set_index("query_id", drop=False)
    by_query = dict(iter(rows.groupby("query_id")))
    texts = rows["misconception_id"].map(names).str.len().groupby(rows["query_id"]).sum()
    weights = [
        len(text) + texts[query] for query, text in zip(order, csvs.query_texts(queries.loc[order]), strict=True)
    ]
    tasks = [
        (queries.loc[order[part]].reset_index(drop=True), pd.concat([by_query[query] for query in order[part]]))
        for part in checkpoints.share_out(weights, settings.chunk, len(_places(bench, settings)))
    ]
    facts = _in_chunks(bench, stage, settings, table, tasks, len(done), open_reranker, (settings, bench.config, names))
    if settings.select is not None:
        sentence = saving.sentence(facts.get("tokens", 0), facts.get("prompts", 0))
        print(f"{stage}: {sentence}")
        selected = {"queries": saving.queries, "of_queries": saving.all_queries, "candidates": len(rows)}
        ledger.record(bench.run, stage, "select", clock.now(), clock.now(), decision=sentence, selected=selected)
    return checkpoints.gather(table, facts.get("decision", ""))


def reason(bench: Bench) -> pd.DataFrame:
    """Runs the config's `[reason]` over the test and writes `reasons.parquet`, chunk by chunk."""
    settings = bench.config.reason
    if settings is None:
        raise StageError(f"{bench.config.path}: has no [reason] to run; add it")
    table = bench.run / reasons.FILE
    done = checkpoints.prepare(table, bench.resume)
    queries = bench.competition.test[~bench.competition.test["query_id"].isin(done)]
    weights = [len(text) for text in csvs.query_texts(queries)]
    tasks = [
        (queries.iloc[part].reset_index(drop=True),)
        for part in checkpoints.share_out(weights, settings.chunk, len(_places(bench, settings)))
    ]
    facts = _in_chunks(bench, REASON, settings, table, tasks, len(done), writer.open_writer, (settings, bench.config))
    return checkpoints.gather(table, facts.get("decision", ""))


def _in_chunks(
    bench: Bench,
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
    pool = workers.Pool(stage, _places(bench, settings), bench.logs, make, arguments, bench.config.environment)
    facts: dict[str, Any] = {}
    pipeline = settings if isinstance(settings, Pipeline) else None
    shares = Shares(prompters.answers(settings))

    def decide(sentence: str) -> None:
        print(f"{stage}: {sentence}", flush=True)
        ledger.record(bench.run, stage, ledger.BUDGET, clock.now(), clock.now(), decision=sentence)

    def measure(found: Sequence[Share]) -> None:
        shares.add(found)
        if "warnings" not in facts and (warning := shares.warning()):
            facts["warnings"] = [warning]
            print(f"warning: {stage}: {warning}", flush=True)

    try:
        with pool:
            checkpoints.work_through(pool, tasks, table, bench.deadline, facts, done, pipeline, decide, measure)
    finally:
        if measured := shares.facts():
            facts["option_share"] = measured
            facts["warnings"] = [warning] if (warning := shares.warning()) else []
        if pool.losses:
            facts["losses"] = pool.losses
        loaded = start + pool.load_seconds
        ledger.record(bench.run, stage, "load", start, loaded)
        ledger.record(bench.run, stage, "score", loaded, clock.now(), **facts)
    return facts


def _places(bench: Bench, settings: Pipeline | configs.Reason) -> list[workers.Place]:
    devices = placement.device_list(bench.config)
    together = isinstance(settings, LanguageModel) and settings.parallel == "tensor"
    if together:
        missing = [device for device in bench.config.devices or [] if device not in devices]
        placement.check_tensor(getattr(settings, "name", REASON), devices, missing)
    return workers.places(devices, together)


def _least_sure_first(bench: Bench, pipeline: Pipeline, rows: pd.DataFrame) -> list[str]:
    """The queries of `rows`: where an earlier pipeline's probabilities tell, those with the smallest margin first.

    A stage that is stopped early has then worked where most was to be won.
    """
    order = [str(query) for query in rows["query_id"].unique()]
    name = (pipeline.select and pipeline.select.by) or pipeline.candidates
    earlier = next((each for each in bench.config.pipeline if each.name == name), None)
    if earlier is None or isinstance(earlier, TournamentPipeline) or (ranking := read_table(bench, name)) is None:
        return order
    margin = selection.top_scores(ranking)["margin"].to_dict()
    return sorted(order, key=lambda query: margin.get(query, -1.0))


def members(bench: Bench) -> dict[str, pd.DataFrame]:
    """The valid tables among the ensemble's members, by name, in the config's order."""
    found = {name: read_table(bench, name) for name in bench.config.ensemble.weights}
    return {name: table for name, table in found.items() if table is not None}


def fuse(bench: Bench, rankings: dict[str, pd.DataFrame], boosted: bool = True) -> pd.DataFrame:
    """The members' rank fusion, with the config's unseen boost, as a ranking table."""
    settings = bench.config.ensemble
    fused = fusion.fuse(rankings, settings.weights)
    seen = bench.competition.seen
    if boosted and settings.unseen_boost is not None:
        fused = fusion.boost_unseen(fused, seen, settings.unseen_boost)
    elif boosted and settings.unseen_share is not None:
        fused = fusion.boost_unseen(fused, seen, fusion.factor_for_share(fused, seen, settings.unseen_share))
    return fusion.to_table(fused)


def ensemble(bench: Bench) -> pd.DataFrame:
    """Fuses the members that are there, writes `ranking-ensemble.parquet` and replaces submission.csv."""
    with ledger.phase(bench.run, ENSEMBLE, "fuse"):
        rankings = members(bench)
        if not rankings:
            names = ", ".join(bench.config.ensemble.weights)
            raise StageError(f"{bench.run}: no table of {names} is there to fuse; run retrieve.ipynb first")
        table = fuse(bench, rankings)
        tables.write(table, bench.config.table_path(ENSEMBLE, bench.run))
        write_submission(bench, table, list(rankings))
    return table


def write_submission(bench: Bench, table: pd.DataFrame, of: Collection[str]) -> dict[str, list[int]] | None:
    """submission.csv from a ranking: a row short of 25 is filled from its candidates, then from submission zero.

    `of`: the members it was fused from. What it would write is checked first: TableError leaves the file as it is. So
    does, with None, a valid one of more of the ensemble's weight: a table that is gone makes no submission better.
    """
    path = bench.run / submission.FILE
    weights, standing = bench.config.ensemble.weights, _standing_members(bench, path)
    lost = [name for name in standing if name not in of]
    if sum(weights[name] for name in of) < sum(weights[name] for name in standing):
        print(f"{path}: stays, as it was made with {', '.join(lost)} too; remove it to have it without")
        return None
    query_ids, known = bench.competition.asked, list(bench.competition.names)
    first = tables.ids(tables.cut(table, submission.ROW_LENGTH))
    rows = {query_id: first.get(query_id, []) for query_id in query_ids}
    short = {query_id for query_id, ids in rows.items() if len(ids) < submission.ROW_LENGTH}
    if short:  # else no other table need be read
        names = dict.fromkeys([*bench.config.ensemble.weights, *(each.name for each in bench.config.retrieval)])
        given = (read_table(bench, name) for name in names)
        of_short = (each[tables.among(each["query_id"], short)] for each in given if each is not None)
        lists = [*map(tables.ids, of_short), _zero_rows(bench)]
        for query_id in short:
            others = (ids.get(query_id, []) for ids in lists)
            rows[query_id] = fusion.fill(rows[query_id], *others, known, length=submission.ROW_LENGTH)
    submission.check(rows, query_ids, set(known), str(path))
    submission.write(rows, path)
    with contextlib.suppress(OSError):  # a disk that is full now costs the copy and the record, not the submission
        submission.write(rows, bench.run / submission.LAST)
        folders.update(bench.run, submission={"sha256": manifest.sha256(path), "members": list(of)})
    return rows


def submitted(bench: Bench) -> pd.DataFrame:
    """submission.csv as a ranking of the test's queries whose score is 1/rank; TableError where it is none."""
    path = bench.run / submission.FILE
    ranking = tables.from_rows(bench.competition.test["query_id"], submission.read(path))
    if ranking is None:
        raise TableError(f"{path}: has no query of the data; run again")
    return ranking


def _standing_members(bench: Bench, path: Path) -> list[str]:
    """The ensemble's members of which the valid submission that is there was made, as the run's record knows it."""
    told = (folders.read(bench.run) or {}).get("submission", {})
    try:
        if told.get("sha256") != manifest.sha256(path):
            return []
        submission.validate(path, bench.competition.asked, set(bench.competition.names))
    except (OSError, TableError):
        return []
    return [name for name in told["members"] if name in bench.config.ensemble.weights]
