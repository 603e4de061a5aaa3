"""Why a run at Kaggle failed: by what it left, or by its log alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cascade.base.folder import RESULT
from cascade.causes.find import root_cause
from cascade.causes.results import failures
from packer.kaggle import runs
from packer.kaggle.runs import LAST_LINES, Run, RunError, Status
from packer.kaggle.session import KaggleError, Session


def of_run(session: Session, run: Run, seen: Status) -> Iterator[str]:
    """The end of a failed run's log, then its cause: by the log, else in Kaggle's words. No error where none is had."""
    try:
        raw = runs.log(session, run)
    except (KaggleError, RunError) as error:
        yield f"why: {seen.failure or 'Kaggle does not say'} (its log cannot be had: {error})"
        return
    yield from list(runs.readable(raw))[-LAST_LINES:]
    yield from list(of_log(raw)) or [f"why: {seen.failure or 'neither Kaggle nor the log says'}"]


def of_log(raw: str) -> Iterator[str]:
    """The cause that a log as Kaggle keeps it tells, as one line; nothing where it tells of no error."""
    cause = root_cause("\n".join(runs.bare(raw)))
    if cause is not None:
        yield f"why: {cause.sentence}{f'. Fix: {cause.mend}' if cause.mend else ''}"


def of_output(folder: Path, log: str) -> Iterator[str]:
    """The same of a run whose output lies in `folder`: each stage that failed by its result.json, else by the log."""
    told = [sentence for path in sorted(folder.rglob(RESULT)) for sentence in failures(path)]
    yield from (f"why: {sentence}" for sentence in dict.fromkeys(told)) if told else of_log(log)
