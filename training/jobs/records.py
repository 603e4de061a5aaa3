"""What a training leaves beside its adapters: their out-of-fold scores in their folders, and its jobs in MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cascade.base.errors import StageError
from cascade.config.schema import Config
from cascade.processes import die_with_parent
from training.jobs import models, provenance, store
from training.jobs.graph import SCORES, Places
from training.jobs.runner import DONE, KEPT, Board, last_line


@contextmanager
def kept(board: Board, config: Config) -> Iterator[None]:
    """While the board runs, each job that ends is recorded; at the end, the adapters are told their scores."""
    recorder = Recorder(board.root)
    board.settled = recorder.look
    try:
        yield
    except StageError:
        _finish(board, config, recorder)
        raise
    _finish(board, config, recorder)


def _finish(board: Board, config: Config, recorder: Recorder) -> None:
    if any(standing.state in (DONE, KEPT) for standing in board.standings.values()):  # else it did not run at all
        tell_scores(board, config)
        for line in recorder.finish():
            print(line)


def tell_scores(board: Board, config: Config) -> None:
    """Writes what the folds reached into the folders of the adapters that are trained on all data.

    Each has its own stages' scores and those of the submission, where this run saw both done.
    """
    done = {name: each.job for name, each in board.standings.items() if each.state in (DONE, KEPT)}
    folds = {name.partition("/")[0]: job.scores for name, job in done.items() if name.endswith(f"/{SCORES}")}
    found = {fold: json.loads(path.read_text(encoding="utf-8")) for fold, path in folds.items() if path is not None}
    for adapter, systems in models.systems(config).items():
        names = (*systems, "submission")
        own = {fold: {name: _row(rows[name]) for name in names if name in rows} for fold, rows in found.items()}
        if found and adapter in done:
            provenance.add_scores(Places(board.root).adapters / adapter, own)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in (*store.KEPT, "queries")}


@dataclass
class Recorder:
    """Fills the training's MLflow store in a process of its own, one at a time; what fails there costs no job."""

    root: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.root / "logs" / "mlflow.log"

    def look(self) -> None:
        """Begins to record what has ended, unless that is being done."""
        if store.is_installed() and (self.process is None or self.process.poll() is not None):
            with suppress(OSError):  # a full disk, say; the rest is recorded at the end
                self._begin()

    def finish(self) -> Iterator[str]:
        """Records the rest, and says where it is."""
        if not store.is_installed():
            yield f"not recorded in MLflow, which is not installed: {store.INSTALL}"
            return
        if self.process is not None:
            self.process.wait()
        try:
            failed = self._begin().wait() and last_line(self.log)
        except OSError as error:
            failed = str(error)
        if failed:
            yield f"warning: the jobs are not recorded in MLflow: {failed}"
            return
        # A store is for the version that made it; the pages come with the whole package only.
        shown = f"uvx mlflow@{version('mlflow-skinny')} ui --backend-store-uri"
        yield f"recorded in MLflow's store, to look: {shown} {store.address(self.root)}"

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cascade.processes.die_with_parent", "training", "record", str(self.root)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=os.environ | store.QUIET | die_with_parent.told(),
            )  # fmt: skip
        return self.process
