"""Runs jobs: what is up to date is left, what fails leaves the others, a kill costs what it hit."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from cascade.base import atomic
from cascade.base.errors import StageError
from cascade.run import lock
from training.jobs.executors import Executor, Started
from training.jobs.job import Job

POLL = 0.2  # seconds between two looks at the jobs that run
MARK = "training.json"  # by which a training's folder is known
SAID = 200  # letters of a failed job's last line
WAITS, RUNS, DONE, KEPT, FAILED, LEFT = "waits", "runs", "done", "up to date", "failed", "not run"


@dataclass
class Standing:
    """How it stands with one job. seconds: what it took, or the run before that it is up to date with."""

    job: Job
    state: str = WAITS
    seconds: float = 0.0
    why: str = ""
    digest: str = ""
    began: float = 0.0
    started: Started | None = None


@dataclass
class Board:
    """All jobs of a training, in an order in which each comes after those that it needs.

    settled: called each time that one is done and noted.
    """

    jobs: Sequence[Job]
    root: Path
    executor: Executor
    standings: dict[str, Standing] = field(init=False)
    settled: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.standings = {}
        for job in self.jobs:
            if missing := [name for name in job.needs if name not in self.standings]:
                raise ValueError(f"{job.name} comes before {missing[0]}, which it needs")
            self.standings[job.name] = Standing(job)

    def run(self) -> None:
        """Does all that is due. What runs is ended with this process."""
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        with _shown(self) as look:
            try:
                while self._advance():
                    look()
                    time.sleep(POLL)
                look()
            finally:
                for standing in self._started():
                    self._end(standing)

    def _in(self, state: str) -> list[Standing]:
        return [standing for standing in self.standings.values() if standing.state == state]

    def _started(self) -> list[Standing]:
        """Those that the executor has and that have not ended; one may still wait for a place."""
        return [each for each in self.standings.values() if each.started is not None and each.state in (WAITS, RUNS)]

    def _advance(self) -> bool:
        """Looks at what is started and starts what can be; whether anything still is."""
        for standing in self._started():
            assert standing.started is not None
            try:
                code = standing.started.poll()
            except OSError as error:  # what came from another machine could not be written: a full disk
                self._end(standing)
                standing.state, standing.why = FAILED, str(error)
                continue
            _note_began(standing, standing.started)
            if code is not None:
                self._settle(standing, code)
        for standing in [each for each in self._in(WAITS) if each.started is None]:
            states = {self.standings[name].state for name in standing.job.needs}
            if states & {FAILED, LEFT}:
                standing.state = LEFT
                bad = next(name for name in standing.job.needs if self.standings[name].state in (FAILED, LEFT))
                standing.why = f"needs {bad}"
            elif states <= {DONE, KEPT}:
                self._begin(standing)
        return bool(self._started())

    def _begin(self, standing: Standing) -> None:
        job = standing.job
        if not self.executor.has_place(job):
            return
        if job.is_done(self.root):
            standing.state, standing.seconds = KEPT, job.seconds(self.root)
            return
        standing.digest = job.digest()
        standing.started = self.executor.start(job.going_on(self.root, standing.digest), job.log_path(self.root))
        _note_began(standing, standing.started)

    def _settle(self, standing: Standing, code: int) -> None:
        job = standing.job
        standing.seconds = time.monotonic() - standing.began
        missing = [path for path in job.leaves if not path.exists()]
        standing.state = FAILED
        if code == 0 and not missing:
            try:
                job.note(self.root, standing.digest, standing.seconds)
                standing.state = DONE
                # With those of other settings, from which nothing will go on.
                shutil.rmtree(job.checkpoints(self.root, standing.digest).parent, ignore_errors=True)
            except OSError as error:
                standing.why = f"its record cannot be written: {error}"
                return
            self.settled()
            return
        ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
        standing.why = f"{ended}: {last_line(job.log_path(self.root))}" if code else f"it left no {missing[0]}"

    def _end(self, standing: Standing) -> None:
        assert standing.started is not None
        standing.started.end()
        standing.state, standing.why = LEFT, "stopped"

    def left(self) -> float:
        """Seconds that the rest takes, by the jobs of the same kind that are done; 0 where none tells."""
        took: dict[str, list[float]] = {}
        for standing in self.standings.values():
            if standing.state in (DONE, KEPT):
                took.setdefault(_kind(standing.job), []).append(standing.seconds)
        seconds = 0.0
        for standing in [*self._in(WAITS), *self._in(RUNS)]:
            known = took.get(_kind(standing.job))
            if known is None:
                return 0.0
            ran = time.monotonic() - standing.began if standing.state == RUNS else 0.0
            seconds += max(0.0, sum(known) / len(known) - ran)
        return seconds / self.executor.places

    def table(self) -> Table:
        """A row a job: its state, its time, and what its model reached on questions that it was not trained on."""
        shown = Table(
            title=escape(str(self.root)) + (f", about {left / 60:.0f} min left" if (left := self.left()) else "")
        )
        for name in ("job", "state", "time", "MAP", "seen", "unseen"):
            shown.add_column(name, justify="left" if name in ("job", "state") else "right")
        for standing in self.standings.values():
            seconds = time.monotonic() - standing.began if standing.state == RUNS else standing.seconds
            shown.add_row(
                escape(standing.job.name), standing.state, f"{seconds:.0f} s" if seconds else "", *_scores(standing)
            )
        return shown


def _note_began(standing: Standing, started: Started) -> None:
    """A job that was started can wait for a place, and do so again where its node died."""
    standing.state = WAITS if started.began is None else RUNS
    standing.began = started.began or time.monotonic()


def _kind(job: Job) -> str:
    return job.name.rpartition("/")[2]


def _scores(standing: Standing) -> list[str]:
    """MAP, seen and unseen, of a job that is done and has them."""
    path = standing.job.scores
    if path is None or standing.state not in (DONE, KEPT):
        return ["", "", ""]
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["submission"]
        return ["" if found[key] is None else f"{found[key]:.4f}" for key in ("map", "map_seen", "map_unseen")]
    except (OSError, ValueError, KeyError, TypeError):
        return ["?", "", ""]


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][-SAID:] if lines else "it said nothing"


@contextmanager
def _shown(board: Board) -> Iterator[Any]:
    """A table that fills on a terminal; elsewhere a line for each job that begins or ends, and the table at the end."""
    console = Console(width=max(100, Console().width))
    if console.is_terminal:
        with Live(board.table(), console=console, refresh_per_second=2) as live:
            yield lambda: live.update(board.table())
        return
    told: dict[str, str] = {}

    def look() -> None:
        for name, standing in board.standings.items():
            if standing.state != told.get(name, WAITS):
                told[name] = standing.state
                took = f" after {standing.seconds:.0f} s" if standing.state in (DONE, FAILED) else ""
                console.print(f"{name}: {standing.state}{took}", highlight=False, markup=False)

    yield look
    console.print(board.table())


def problems(board: Board) -> list[str]:
    """A sentence for each job that failed or was not run."""
    found = []
    for standing in board.standings.values():
        if standing.state == FAILED:
            found.append(f"{standing.job.name} failed ({standing.why}); read {standing.job.log_path(board.root)}")
        elif standing.state == LEFT:
            found.append(f"{standing.job.name} was not run ({standing.why})")
    return found


def run(board: Board) -> None:
    """Runs what is due; StageError for what failed, once all else has run, and where another run has the folder."""
    with board.executor:
        _claim(board.root)
        with lock.held(board.root, "--root"):
            board.run()
    if found := problems(board):
        raise StageError(
            f"{len(found)} of {len(board.jobs)} jobs are not done: {', '.join(found)}",
            path=board.root,
            mend="run it again: what is done is kept",
        )


def _claim(root: Path) -> None:
    """Makes the folder a training's; StageError for one that has anything else in it."""
    if root.exists() and not root.is_dir():
        raise StageError("is a file", path=root, mend="pass --root with a folder")
    names = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if names and MARK not in names:
        raise StageError(
            f"contains {min(names)}, and no training made it", path=root, mend="pass --root with a new or empty folder"
        )
    atomic.write_text(root / MARK, "{}\n")
