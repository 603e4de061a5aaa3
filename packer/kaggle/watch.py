"""Timing a submission. Kaggle tells when it began and never when it ended, so only looking tells how long it took.

All times are wall-clock UTC, which goes on while a laptop sleeps; what was seen is on disk, so that a restart goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packer.kaggle import polling, state
from packer.kaggle.answers import present
from packer.kaggle.session import Session
from packer.kaggle.state import StateError
from packer.kaggle.submissions import SubmissionError

LATEST = 3600.0  # seconds; kagglesdk's rerun_max_stagger_minutes, which a host sets and no entrant sees, ends at 60


@dataclass
class Watch:
    """What was seen of one submission; times in UTC, ISO. `pending`: when it was last seen unfinished."""

    ref: int
    date: str
    first_seen: str
    status: str = "PENDING"
    pending: str = ""
    ended: str = ""
    polls: int = 0
    score: str = ""
    reason: str = ""

    def took(self) -> tuple[float, float]:
        """Seconds that it took, at least and at most."""
        begun = datetime.fromisoformat(self.date)
        least = (datetime.fromisoformat(self.pending) - begun).total_seconds() if self.pending else 0.0
        return max(0.0, least), max(0.0, (datetime.fromisoformat(self.ended) - begun).total_seconds())

    def ran(self) -> str:
        """How long the run itself took: it may have started late, by up to LATEST."""
        least, most = self.took()
        low, high = duration(max(0.0, least - LATEST)), duration(most)
        return f"a rerun may start 0 to 60 min late, so it ran between {low} and {high}"

    def __str__(self) -> str:
        least, most = map(duration, self.took())
        told = f"public score {self.score or 'not given'}" if self.status == "COMPLETE" else self.reason or "no reason"
        return f"submission {self.ref}: {self.status}, {told}; took between {least} and {most}, {self.polls} looks"


def watch(
    session: Session,
    ref: int,
    every: float,
    said: Callable[[str], None],
    folder: Path = state.FOLDER,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    away: float = polling.LONGEST_AWAY,
) -> Watch:
    """Looks every `every` seconds, more often at first, until submission `ref` has ended, and returns what was seen.

    The KaggleError is raised of a Kaggle that has not answered for `away` seconds.
    """
    name = f"watch-{ref}"
    known = state.recall(name, folder)
    try:
        seen = Watch(**known) if known else None
    except TypeError as error:
        raise SubmissionError(
            f"not what a watch writes ({error})", path=folder / f"{name}.json", mend="delete it"
        ) from error
    if seen is not None and seen.ended:
        return seen

    def look() -> Watch:
        nonlocal seen
        answer = _submission(session, ref)
        now = clock().isoformat(timespec="seconds")
        seen = seen or Watch(ref, _utc(answer.date, now), first_seen=now)
        seen.status, seen.polls = answer.status.name, seen.polls + 1
        if seen.status == "PENDING":
            seen.pending = now
        else:
            seen.ended, seen.score, seen.reason = now, answer.public_score or "", answer.error_description or ""
        said(f"{seen.status}, look {seen.polls}")
        try:
            state.remember(name, asdict(seen), folder)
        except StateError as error:  # a full disk: the time that it took is still worth seeing
            said(str(error))
        return seen

    return polling.poll(look, lambda each: bool(each.ended), every, said, sleep=sleep, away=away)


def _utc(date: datetime | None, now: str) -> str:
    """Kaggle's times are UTC without saying so."""
    return date.replace(tzinfo=UTC).isoformat() if date is not None else now


def _submission(session: Session, ref: int) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

    request = ApiGetSubmissionRequest()
    request.ref = ref
    call = session.client.competitions.competition_api_client.get_submission

    def ask() -> Any:
        answer = call(request)
        present(answer.ref, "ref")
        return answer

    return session.call(f"submission {ref}", ask)


def duration(seconds: float) -> str:
    """`8 h 02 min`, or `45 s` below a minute."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
