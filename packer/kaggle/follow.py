"""The log of a run while it goes on, by Kaggle's stream of it.

While a run goes on the stream is of server-sent events, one an entry of the log, until `END_OF_LOG`; whoever connects
again gets it from its beginning. Of a run that has ended it is the log as kept. It may be cut anywhere, or fall silent.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from packer.kaggle import polling, runs
from packer.kaggle.runs import Run
from packer.kaggle.session import KaggleError, Session

END = "END_OF_LOG"
# Seconds of one connection: what keeps silent or repeats itself for ever is left, and the run looked at.
LONGEST = 600.0
LONGEST_PAUSE = 30.0  # seconds between two connections

Entry = dict[str, Any] | str


def lines(
    session: Session,
    run: Run,
    said: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    longest: float = LONGEST,
    away: float = polling.LONGEST_AWAY,
) -> Iterator[str]:
    """The run's log, each line once it is whole, until the run has ended; no line twice, however often it connects.

    `said` is told what stands in the way. RunError for a version that is not there or has no run; KaggleError once
    Kaggle has not answered for `away` seconds.
    """
    return runs.lines(_entries(session, run, said, sleep, longest, away))


def _entries(
    session: Session,
    run: Run,
    said: Callable[[str], None],
    sleep: Callable[[float], None],
    longest: float,
    away: float,
) -> Iterator[Entry]:
    heard: Counter[Any] = Counter()
    pauses = polling.growing(LONGEST_PAUSE, first=1.0)
    while True:
        before = heard.total()
        if (yield from _connection(session, run, heard, said, longest)):
            return
        # One look only, through a Kaggle that is away: what it shows decides whether there is more to come.
        seen = polling.poll(lambda: runs.status(session, run), bool, LONGEST_PAUSE, said, sleep, away)
        if seen.name == runs.UNRUN:
            raise runs.not_run(run)
        if seen.ended:
            yield from _fresh(runs.entries(runs.log(session, run)), heard)
            return
        if heard.total() > before:
            pauses = polling.growing(LONGEST_PAUSE, first=1.0)
        sleep(next(pauses))


def _connection(
    session: Session, run: Run, heard: Counter[Any], said: Callable[[str], None], longest: float
) -> Generator[Entry, None, bool]:
    """What one connection brings that was not heard before; True where the stream said that it was at its end."""
    from requests import RequestException

    try:
        answer = session.call(f"log of {run}", lambda: _open(session, run))
    except KaggleError as error:
        if error.status == 401:
            raise
        said(f"{error}; still trying")
        return False
    with answer:
        try:
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                return bool((yield from _fresh(_events(answer, time.monotonic() + longest), heard)))
            raw = answer.content.decode("utf-8", errors="replace")
        except RequestException:
            return False  # as a balancer does with any connection that lasts
    yield from _fresh(runs.entries(raw), heard)
    return False  # the run has ended, or it has no stream yet


def _open(session: Session, run: Run) -> Any:
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionLogsStreamRequest

    request = ApiGetKernelSessionLogsStreamRequest()
    request.user_name, request.kernel_slug, request.version_label = run.owner, run.slug, run.label
    return session.client.kernels.kernels_api_client.get_kernel_session_logs_stream(request)


def _events(answer: Any, until: float) -> Generator[Entry, None, bool]:
    """The entries of a stream's events; True at its end, False where it stops before, or `until` has come.

    What has no line's end yet when the stream is cut is no event: it comes again with the next connection.
    """
    rest = b""
    # Without chunks a longer read would wait until it is full.
    for piece in answer.iter_content(None if answer.headers.get("Transfer-Encoding") == "chunked" else 1):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            field, _, value = line.decode("utf-8", errors="replace").rstrip("\r").partition(":")
            if field != "data":
                continue  # a comment that keeps the connection alive, or an event's name
            value = value.removeprefix(" ")
            if value == END:
                return True
            yield _entry(value)
        if time.monotonic() > until:
            break
    return False


def _entry(value: str) -> Entry:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if isinstance(found, dict) and "data" in found:
        return {"stream_name": None, "time": None} | found
    return {"stream_name": None, "time": None, "data": f"{value}\n"}


def _fresh(told: Iterable[Entry], heard: Counter[Any]) -> Generator[Entry, None, Any]:
    """What of a log told from its beginning is new, by how many characters of each of its streams were `heard`.

    Not by entries: the log that is kept may be cut into others than the stream was.
    """
    at: Counter[Any] = Counter()
    iterator = iter(told)
    while True:
        try:
            entry = next(iterator)
        except StopIteration as end:
            return end.value
        stream = None if isinstance(entry, str) else entry["stream_name"]  # of a line that is no JSON: None too
        text = entry if isinstance(entry, str) else runs.text_of(entry)
        new = text[max(0, heard[stream] - at[stream]) :]
        at[stream] += len(text)
        if new:
            heard[stream] = at[stream]
            yield new if isinstance(entry, str) else entry | {"data": new}
