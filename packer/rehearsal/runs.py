"""One run of the pushed notebook in a room: as Kaggle starts it, what failed in it, and what each step took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat

from cascade.base import history, ledger
from cascade.base.errors import TableError
from cascade.competitions import registry, submission
from cascade.competitions.base import Competition
from cascade.config.schema import Config
from cascade.kaggle.kernel import PRACTICE
from packer.rehearsal import sandbox
from packer.rehearsal.image_python import PLACE
from packer.rehearsal.inputs import NOTEBOOK
from packer.rehearsal.sandbox import Sandbox, Stay
from packer.rehearsal.violations import SCRATCH, WORKING, summary

EXECUTED = "__notebook__.ipynb"  # Kaggle's name of the executed notebook
COMMAND = [
    f"{PLACE}/bin/python", "-m", "papermill", NOTEBOOK, EXECUTED, "--log-output", "--no-progress-bar",
    "--request-save-on-cell-execute", "--kernel", "python3",
]  # fmt: skip
VARIABLES = {
    "PATH": f"{PLACE}/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": f"{SCRATCH}/home",  # Kaggle's /root is kept as little as scratch
    "LANG": "C.UTF-8",
    "PYTHONPATH": ":/kaggle/lib",  # it begins with an empty entry, as the image's
    "MPLBACKEND": "agg",
    "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    # Debian's Python looks for the root's packages in the home; nothing of a person's own is in the image.
    "PYTHONNOUSERSITE": "1",
}
RERUN = {"KAGGLE_IS_COMPETITION_RERUN": "1"}
SHORTEST = 0.05  # seconds of a step that is worth a line
SLACK = 600.0  # seconds beyond the config's own limit, until a run is ended from outside
NO_SPACE = "No space left on device"
ENVIRONMENT = "The checks and the environment"  # the notebook's own heading
CONDUCTOR = "Every stage, under the conductor"


@dataclass(frozen=True)
class Step:
    """What a run did between two moments, Unix seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Run:
    """A run that is over. `problems`: what failed it, a line each. `tables`: its ledger's folder."""

    name: str
    stay: Stay
    steps: list[Step]
    problems: list[str]
    tables: Path


def run(where: Sandbox, config: Config, data: Path, rerun: bool, said: Callable[[str], None] = lambda _: None) -> Run:
    """Runs the notebook on `data`, the competition's folder that the room shows; raises nothing that fails in it."""
    variables = VARIABLES | (RERUN if rerun else {})
    stay = sandbox.stay(where, COMMAND, variables, config.time.limit + SLACK, said)
    tables = stay.working / (PRACTICE if not rerun else "")
    cells = _cells(stay.working / EXECUTED)
    found = [*summary(stay.attempts), *_limits(where, stay), *_failures(stay, cells)]
    if stay.failed:
        found.append("ended there: what comes after it was not tried")
    else:
        found += _unfinished(tables, config)
    found += _invalid(registry.of(config), stay.working / "submission.csv", data)
    return Run("scoring rerun" if rerun else "commit run", stay, _steps(stay, cells, tables), found, tables)


def _cells(path: Path) -> list[Any]:
    """The executed notebook's; none where it is not there, or was cut off."""
    try:
        return list(nbformat.read(path, as_version=4).cells)
    except (OSError, ValueError):
        return []


def _limits(where: Sandbox, stay: Stay) -> Iterator[str]:
    if stay.full or NO_SPACE in stay.output:
        largest = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in stay.largest)
        yield (
            f"disk: more was written to {WORKING} than its limit of {where.working / 1e6:.1f} MB"
            f"{f'; the largest there: {largest}' if largest else ''}"
        )
    if stay.memory > sandbox.MEMORY:
        yield f"memory: {stay.memory / 1e9:.1f} GB were used, and Kaggle has {sandbox.MEMORY / 1e9:.0f}: it was stopped"
    elif stay.code is None and not stay.failed:
        yield f"time: it had not ended {SLACK:.0f} s after the config's limit, and was stopped"


def _failures(stay: Stay, cells: list[Any]) -> list[str]:
    """What the notebook raised, or printed as failed where nothing may raise; else the run's last words."""
    if stay.failed:
        said = [line for line in stay.output.splitlines() if line.startswith("✗")]
        return [f"failed: {line.removeprefix('✗ ').strip()}" for line in said]
    found: list[str] = []
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if output.output_type == "error":
            found += str(output.evalue).splitlines()
        elif output.output_type == "stream":
            found += [line for line in str(output.text).splitlines() if line.startswith(("✗", "no environment"))]
    if not found and stay.code not in (0, None):
        found = stay.output.strip().splitlines()[-3:]
    return [f"failed: {line.strip()}" for line in dict.fromkeys(found) if line.strip()]


def _unfinished(tables: Path, config: Config) -> list[str]:
    """Stages that did not succeed by the ledger, or that no line of it tells of."""
    attempts = history.read(tables)
    skipped = {name for name, each in attempts.items() if any(e["phase"] == "select" for e in each.phases)}
    missing = [
        f"stage {name}: did not run"
        for name in (stage.stage for stage in config.stages())
        if name not in skipped and not (name in attempts and attempts[name].whole)
    ]
    return [*(f"stage {name}: {each.told}" for name, each in attempts.items() if each.failure), *missing]


def _invalid(competition: Competition, path: Path, data: Path) -> list[str]:
    try:
        submission.validate(path, competition.outline(data))
    except TableError as error:
        return [f"submission.csv: {error}"]
    return []


def _steps(stay: Stay, cells: list[Any], tables: Path) -> list[Step]:
    """The notebook's parts by their headings, and in the conductor's place the ledger's stages."""
    found, heading = list[Step](), ""
    for cell in cells:
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):  # what papermill adds where a cell has raised
            continue
        if cell.cell_type == "markdown":
            heading = cell.source.partition("\n")[0].lstrip("# ")
            continue
        times = cell.metadata.get("papermill", {})
        if times.get("start_time") and times.get("end_time"):
            start, end = (datetime.fromisoformat(times[key]).timestamp() for key in ("start_time", "end_time"))
            if found and found[-1].name == heading:
                found[-1] = Step(heading, found[-1].start, end)
            else:
                found.append(Step(heading, start, end))
    place = next((at for at, step in enumerate(found) if step.name == CONDUCTOR), len(found))  # none if it was ended
    since = found[place].start if place < len(found) else max((step.end for step in found), default=stay.end)
    entries = [e for e in history.entries(tables) if e["phase"] == ledger.STAGE and e["start"] >= since]
    found[place : place + 1] = [Step(e["stage"], e["start"], e["end"]) for e in entries] or found[place : place + 1]
    began = found[0].start if found else stay.end
    return [Step("papermill and its kernel", stay.start, began), *(s for s in found if s.end - s.start >= SHORTEST)]
