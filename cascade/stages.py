"""What the stage notebooks call: each function reads tables, does one stage's work and writes one table."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cascade import config as configs
from cascade import data as csvs
from cascade import fusion, ledger, submission, tables, zero
from cascade.config import ENSEMBLE, Config
from cascade.data import Competition
from cascade.errors import StageError, TableError
from cascade.paths import resolve, resolve_output


@dataclass(frozen=True)
class Bench:
    """What every stage works on: its config, the data, the run's folder, and when it must have stopped."""

    config: Config
    competition: Competition
    run: Path
    deadline: float = 0.0

    @property
    def cache(self) -> Path:
        """Where embeddings are kept between the stages of a run."""
        return self.run / "cache"


def open_bench(config: str, data: str, run: str, deadline: float = 0.0) -> Bench:
    """Reads config and data, and makes the run's folder; relative paths are found from notebooks/ as well."""
    loaded = configs.load(resolve(config))
    competition = csvs.read(resolve(data))
    folder = resolve_output(run)
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(loaded, competition, folder, deadline)


def retrieve(bench: Bench, retrieval: str) -> pd.DataFrame:
    """Runs one `[[retrieval]]` over the test and writes `candidates-<name>.parquet`."""
    from cascade.retrievers.blend import Blend

    settings = bench.config.retrieval_named(retrieval)
    queries = bench.competition.test
    with ledger.phase(bench.run, f"retrieve-{retrieval}", "retrieve", queries=len(queries)):
        table = Blend(settings, bench.config, bench.cache).retrieve(queries, bench.competition)
        tables.write(table, bench.config.table_path(retrieval, bench.run))
    return table


def candidates(bench: Bench, name: str) -> pd.DataFrame:
    """The table of retrieval or pipeline `name`; what it lacks, queries or all, is read from its own input.

    What a retrieval lacks is read from submission zero; StageError where that is missing too.
    """
    own = read_table(bench, name)
    if any(name == retrieval.name for retrieval in bench.config.retrieval):
        below = _zero_table(bench)
    else:
        below = candidates(bench, bench.config.pipeline_named(name).candidates)
    if own is None:
        if below is None:
            path = bench.config.table_path(name, bench.run)
            raise StageError(f"{path}: no such table; run the stage that makes it first")
        return below
    if below is None:
        return own
    return pd.concat([own, below[~below["query_id"].isin(own["query_id"])]], ignore_index=True)


def _zero_table(bench: Bench) -> pd.DataFrame | None:
    """Submission zero as a ranking whose score is 1/rank."""
    rows = [(query, id_, 1 / rank) for query, ids in _zero_rows(bench).items() for rank, id_ in enumerate(ids, start=1)]
    return tables.from_scores(pd.DataFrame(rows, columns=["query_id", "misconception_id", "score"])) if rows else None


def _zero_rows(bench: Bench) -> dict[str, list[int]]:
    path = bench.run / zero.FILE
    try:
        return submission.read(path) if path.is_file() else {}
    except TableError as error:
        print(f"left out: {error}")
        return {}


def read_table(bench: Bench, name: str) -> pd.DataFrame | None:
    """The table of that name; None where it is not there or, said aloud, where it is broken."""
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
        strange = ~table[column].isin(known)
        if strange.any():
            raise TableError(f"{path}: {column} {table[column][strange].iloc[0]} is not in the data; run it again")
    return table


def rerank(bench: Bench, pipeline: str) -> pd.DataFrame:
    """Runs one `[[pipeline]]` and writes `ranking-<name>.parquet`.

    Each chunk is on disk before the next begins. It stops with what it has where another chunk, as
    long as the longest so far, would end past the deadline.
    """
    from cascade.rerankers.cross_encoder import CrossEncoderReranker

    settings = bench.config.pipeline_named(pipeline)
    stage = f"rerank-{pipeline}"
    given = candidates(bench, settings.candidates)
    parts = parts_folder(bench.config.table_path(pipeline, bench.run))
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    with ledger.phase(bench.run, stage, "load"):
        reranker = CrossEncoderReranker(settings, bench.config)
    total, done = given["query_id"].nunique(), 0
    longest, last = 0.0, time.time()
    with ledger.phase(bench.run, stage, "score") as facts:
        for number, chunk in enumerate(reranker.rerank(bench.competition.test, given, bench.competition)):
            tables.write(chunk, parts / f"{number:05}.parquet")
            done += chunk["query_id"].nunique()
            facts.update(queries=done, prompts=facts.get("prompts", 0) + len(chunk))
            print(f"{stage}: {done} of {total} queries", flush=True)
            now = time.time()
            longest, last = max(longest, now - last), now
            if done < total and 0 < bench.deadline < now + longest:
                facts["decision"] = f"deadline: stopped after {done} of {total} queries"
                print(facts["decision"])
                break
    return gather(bench.config.table_path(pipeline, bench.run))


def parts_folder(table: Path) -> Path:
    return table.with_suffix(".parts")


def gather(table: Path) -> pd.DataFrame:
    """Makes a reranker's table out of the chunks it finished; TableError where it finished none."""
    chunks = []
    for part in sorted(parts_folder(table).glob("[0-9]*.parquet")):
        try:
            chunks.append(tables.read(part))
        except TableError as error:  # the disk was full, or the write was cut: the other chunks still count
            print(error)
    if not chunks:
        raise TableError(f"{table}: no finished chunk to make it from; run its stage again")
    gathered = pd.concat(chunks, ignore_index=True)
    tables.write(gathered, table)
    return gathered


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
        write_submission(bench, table)
    return table


def write_submission(bench: Bench, table: pd.DataFrame) -> None:
    """submission.csv from a ranking: a row short of 25 is filled from its candidates, then from submission zero.

    What it would write is checked first: TableError leaves the file as it is.
    """
    retrieved = [read_table(bench, retrieval.name) for retrieval in bench.config.retrieval]
    given = [*members(bench).values(), *(ranking for ranking in retrieved if ranking is not None)]
    lists = [_ids(ranking) for ranking in (table, *given)]
    lists.append(_zero_rows(bench))
    query_ids, known = bench.competition.test["query_id"].tolist(), list(bench.competition.names)
    rows = {}
    for query_id in query_ids:
        first, *others = (ids.get(query_id, []) for ids in lists)
        rows[query_id] = fusion.fill(first, *others, known, length=submission.ROW_LENGTH)
    path = bench.run / "submission.csv"
    submission.check(rows, query_ids, set(known), str(path))
    submission.write(rows, path)


def _ids(table: pd.DataFrame) -> dict[str, list[int]]:
    return {str(query): ids.tolist() for query, ids in table.groupby("query_id", sort=False)["misconception_id"]}
