"""The practice: labelled units of train run beside the test's, so that a commit run shows rates, memory and MAP.

The visible test has a few rows, too few to time anything by. The units are taken out of train, so that no retriever
finds them there, and their rows never reach submission.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cascade.base import clock, durations
from cascade.base import folder as folders
from cascade.competitions import registry, submission
from cascade.competitions.base import Competition, Unit
from cascade.config import schema as configs
from cascade.kaggle.kernel import PRACTICE
from cascade.run import conductor, lock
from cascade.stages import baseline

MARK = "practice-"  # before the ids of what is held out
SEED = 0


def conduct(
    count: int,
    config: Path,
    data: Path,
    out: Path,
    notebooks: Path,
    deadline: float | None = None,
    engine: str = "",
    resume: bool = False,
    began: float | None = None,
    again: str = "",
) -> int:
    """Runs `conductor.conduct` over the test and `count` train queries.

    All of it goes to `out`/practice but submission.csv, which has the test's own rows. Without a deadline it has
    `durations.PRACTICE` at most, whatever the config grants.
    """
    own = out / PRACTICE
    for each in (out, own):
        folders.check(each)
    with lock.held(out):
        for each in (out, own):
            folders.claim(each)
        settings = configs.load(config, engine)
        competition = registry.of(settings)
        outline = competition.outline(data)
        baseline.write(outline, out, anew=not (resume or again))
        available = min(settings.time.available, durations.PRACTICE)
        deadline = deadline or (began or clock.now()) + available
        both = write(competition, data, own / "data", count)
        code = conductor.conduct(config, both, own, notebooks, deadline, engine, resume, began, again)
        path = out / submission.FILE
        found = submission.read(own / submission.FILE, outline)
        rows = {query: found[query] for query in outline.asked if query in found}
        submission.check(rows, outline, str(own / submission.FILE))
        submission.write(rows, outline, path)
        print(f"{path}: the {len(rows)} rows of test.csv, without the practice's {len(found) - len(rows)}")
        return code


def write(competition: Competition, data: Path, folder: Path, count: int) -> Path:
    """Writes `folder` as a data folder and returns it.

    Its test is the test and at least `count` labelled train queries, with their labels; its train lacks them. Half of
    the units are the longest by text, the rest drawn evenly by a fixed seed; there are at most half of train's.
    """
    units = competition.units(data)
    chosen = _chosen(units, -(-count // competition.unit_queries))
    competition.split(data, folder, chosen, sorted(set(range(len(units))) - set(chosen)), set(), MARK)
    return folder


def _chosen(units: Sequence[Unit], count: int) -> list[int]:
    """The labelled units to practise on, in their order."""
    labelled = [place for place, unit in enumerate(units) if unit.labels]
    wanted = min(count, len(units) // 2, len(labelled))
    longest = sorted(labelled, key=lambda place: -units[place].length)[: wanted // 2]
    others = sorted(set(labelled) - set(longest))
    drawn = np.random.default_rng(SEED).choice(others, size=wanted - len(longest), replace=False)
    return sorted([*longest, *map(int, drawn)])
