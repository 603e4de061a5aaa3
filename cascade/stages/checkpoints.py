"""Work in chunks of whole queries, each on disk before its process begins the next, so that stopping is cheap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade.base import clock, folder
from cascade.base.errors import TableError
from cascade.config.schema import Pipeline
from cascade.processes.workers import Pool
from cascade.rankings import reasons, tables
from cascade.scorers.shares import Share
from cascade.stages.pace import Pace


def contract(table: Path) -> Any:
    """The module that reads and writes a table of that name: a ranking or reasons."""
    return reasons if table.name == reasons.FILE else tables


def parts_folder(table: Path) -> Path:
    return table.with_suffix(folder.PARTS)


def prepare(table: Path, resume: bool) -> set[str]:
    """Makes the folder of chunks and returns the queries that are in it; empty unless an earlier run is resumed."""
    parts = parts_folder(table)
    if not resume:
        folder.remove(folder.chunk_files(table))
    parts.mkdir(exist_ok=True)
    return {query for chunk in _finished(table) for query in chunk["query_id"].unique()}


def share_out(weights: Sequence[float], size: int, places: int) -> list[slice]:
    """Cuts a sequence of queries into chunks of about equal weight, about `size` queries each.

    There are at least as many chunks as places to work at, as far as there are queries.
    """
    count = max(-(-len(weights) // size), min(places, len(weights)))
    total = np.cumsum([0.0, *weights])
    wanted = total[-1] * np.arange(1, count) / max(count, 1)
    inner, each = np.abs(total[:, None] - wanted).argmin(axis=0), np.arange(1, count)
    inner = np.maximum.accumulate(np.maximum(inner - each, 0)) + each  # a query for each chunk before
    inner = np.minimum(inner, len(weights) - count + each)  # and for each behind
    edges = sorted({0, *(int(edge) for edge in inner), len(weights)})
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def work_through(
    pool: Pool,
    tasks: Sequence[tuple[Any, ...]],
    table: Path,
    deadline: float,
    facts: dict[str, Any],
    done: int = 0,
    pipeline: Pipeline | None = None,
    decide: Callable[[str], None] = print,
    measure: Callable[[Sequence[Share]], None] | None = None,
) -> None:
    """Writes a part for every task that `pool` finishes; a task's first item is its rows of the query table.

    Where the work would end past `deadline` (Unix seconds, 0 for none), candidates of a `pipeline` are left out of
    what is not begun, which `decide` is told; it stops where another chunk, at the slowest pace so far, would end
    past it. A chunk that fails is left out and said. `facts` gathers the ledger's counts, those of every chunk
    under `chunks`: from them the plan learns what a prompt and what a token costs. `done` queries were
    finished before. `measure` is given what was found of the options' shares.
    """
    tasks = list(tasks)
    pace = Pace(pool, tasks, deadline, pipeline, decide)
    total = done + sum(len(task[0]) for task in tasks)
    number = max((int(path.stem) + 1 for path in parts_folder(table).glob("[0-9]*.parquet")), default=0)
    start, before = clock.now(), done
    troubles: list[str] = []
    facts.update(queries=0, chunks=[])
    for finished in pool.run(tasks, pace.go_on):
        cut = pace.finished(finished.task, finished.seconds)
        size = len(finished.task[0])
        if finished.error is not None:
            troubles.append(f"{size} queries failed: {finished.error}")
            print(f"{pool.name}: {troubles[-1]}", flush=True)
            continue
        chunk, used = finished.value
        shares = used.pop("shares", ())
        if proved := used.pop("canaries", None):  # of each process that was started
            print(f"{pool.name}: {proved.pop('said')}", flush=True)
            facts.setdefault("canaries", []).append(proved)
        if measure is not None:
            measure(shares)
        contract(table).write(chunk, parts_folder(table) / f"{number:05}.parquet")
        number += 1
        done += size
        facts["queries"] += size
        end = clock.now()
        spent = {"start": round(end - finished.seconds, 3), "end": round(end, 3)}
        fewer = {} if cut is None else {"candidates_cut_to": cut}
        facts["chunks"].append({**spent, "queries": size, **fewer, **used})
        for name, count in used.items():
            facts[name] = facts.get(name, 0) + count
        seconds = max(1e-3, clock.now() - start - pool.load_seconds)
        rate = f", {facts['tokens'] / seconds:,.0f} tokens/s" if facts.get("tokens") else ""
        left = seconds / (done - before) * (total - done)
        print(f"{pool.name}: {done} of {total} queries{rate}, {left:.0f} s left", flush=True)
    if done < total and not troubles:
        troubles = [f"deadline: stopped after {done} of {total} queries"]
        print(troubles[0])
    if troubles:
        facts["decision"] = "; ".join(troubles[:3])


def gather(table: Path, why: str = "", finish: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> pd.DataFrame:
    """Makes a stage's table out of the chunks that it finished.

    It raises TableError where there are none, with what is known of `why`. `finish`: what is made of their rows.
    """
    chunks = _finished(table)
    if not chunks:
        known = f" ({why})" if why else ""
        raise TableError(f"no chunk is finished to make it from{known}", path=table, mend="run its stage again")
    gathered = pd.concat(chunks, ignore_index=True)
    gathered = gathered if finish is None else finish(gathered)
    contract(table).write(gathered, table)
    return gathered


def _finished(table: Path) -> list[pd.DataFrame]:
    chunks = []
    for part in sorted(parts_folder(table).glob("[0-9]*.parquet")):
        try:
            chunks.append(contract(table).read(part))
        except TableError as error:  # the disk was full, or the write was cut: the other chunks still count
            print(error)
    return chunks
