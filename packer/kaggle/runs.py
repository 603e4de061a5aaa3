"""A run of the kernel, as Kaggle tells of it: its state, and its log made readable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cascade.base.errors import CascadeError
from packer.kaggle import polling
from packer.kaggle.answers import present
from packer.kaggle.session import ABSENT, KaggleError, Session

UNRUN = "NEW_SCRIPT"  # of a version that was saved without a run
ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
LONGEST_PAUSE = 60.0  # seconds between two looks at a run
LAST_LINES = 30  # of a log, that are shown of a run that failed
PIECE = re.compile(r"[^\n]*\n|[^\n]+")  # up to the end of a line


class RunError(CascadeError):
    """A run that is not there, or not as far as a command needs it."""


@dataclass(frozen=True)
class Run:
    """One version of a kernel, whose run it is."""

    owner: str
    slug: str
    version: int

    def __str__(self) -> str:
        return f"version {self.version} of {self.owner}/{self.slug}"

    @property
    def label(self) -> str:
        """Kaggle's `version_label`: a bare number is answered with 404 (kaggle-cli's issue 1200)."""
        return f"v{self.version}"


@dataclass(frozen=True)
class Status:
    """`name`: QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED, CANCEL_ACKNOWLEDGED, or UNRUN.

    `failure`: Kaggle's words.
    """

    name: str
    failure: str = ""

    @property
    def failed(self) -> bool:
        return self.ended and self.name != "COMPLETE"

    @property
    def ended(self) -> bool:
        return self.name in ENDED

    def __str__(self) -> str:
        if self.name == UNRUN:
            return f"{UNRUN}: saved without a run"
        return f"{self.name}: {self.failure}" if self.failure else self.name


def status(session: Session, run: Run) -> Status:
    """How far the run is; RunError where Kaggle has no such version."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = ApiGetKernelSessionStatusRequest()
    request.user_name, request.kernel_slug, request.version_label = run.owner, run.slug, run.label
    call = session.client.kernels.kernels_api_client.get_kernel_session_status
    answer = call_for(session, run, "status", lambda: call(request))
    return Status(answer.status.name, answer.failure_message or "")


def wait(session: Session, run: Run, said: Callable[[str], None], **settings: Any) -> Status:
    """The run's state once it has ended; `said` is told each new state and what stands in the way.

    RunError for a version without a run.
    """
    before = ""

    def look() -> Status:
        nonlocal before
        seen = status(session, run)
        if seen.name == UNRUN:
            raise not_run(run)
        if seen.name != before:
            said(str(seen))
            before = seen.name
        return seen

    return polling.poll(look, lambda seen: seen.ended, LONGEST_PAUSE, said, **settings)


def not_run(run: Run) -> RunError:
    """What a command that is about a run says of a version that has none."""
    return RunError(
        "was saved without a run", key=str(run), mend="push it to run: make push-kernel, or choose a version that ran"
    )


def newest(session: Session, kernel: str) -> Any:
    """What Kaggle tells of the newest version of `owner/slug`; None where this login may read no such kernel."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = kernel.split("/")
    call = session.client.kernels.kernels_api_client.get_kernel
    try:
        return session.call(f"kernel {kernel}", lambda: present(call(request).metadata, "metadata"))
    except KaggleError as error:
        if error.status in ABSENT:
            return None
        raise


def newest_number(session: Session, kernel: str) -> int:
    """The newest version's number, 0 where there is none."""
    found = newest(session, kernel)
    return (found.current_version_number or 0) if found is not None else 0


def call_for(session: Session, run: Run, what: str, method: Callable[[], Any]) -> Any:
    """`session.call`; a version that is not there is a RunError."""
    try:
        return session.call(f"{what} of {run}", method)
    except KaggleError as error:
        if error.status in ABSENT:
            raise RunError(
                "Kaggle has no such version that this login may read", key=str(run), mend="correct VERSION, or push it"
            ) from error
        raise


def log(session: Session, run: Run) -> str:
    """The run's log as Kaggle keeps it, empty while it has none."""
    return str(page(session, run, size=1).log or "")


def tail(session: Session, run: Run, lines: int = LAST_LINES) -> list[str]:
    """The last lines of the run's log, all of them for 0; RunError while it has none."""
    found = list(readable(log(session, run)))
    if not found:
        raise RunError("has no log yet", key=str(run), mend="see its progress: make status")
    return found[-lines:]


def page(session: Session, run: Run, token: str = "", size: int = 200) -> Any:
    """One page of the run's output: `files`, `log`, `next_page_token`. Kaggle's largest `size` is 200."""
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug, request.version_label = run.owner, run.slug, run.label
    request.page_size = size
    if token:
        request.page_token = token
    call = session.client.kernels.kernels_api_client.list_kernel_session_output
    return call_for(session, run, "output", lambda: call(request))


def readable(raw: str) -> Iterator[str]:
    """The lines of a log, each with its time in seconds and a mark where it came from stderr."""
    return lines(entries(raw))


def lines(told: Iterable[dict[str, Any] | str]) -> Iterator[str]:
    """The same of a log's entries, each line as soon as it is whole."""
    return (line if isinstance(line, str) else _line(*line) for line in _lines(told))


def bare(raw: str) -> Iterator[str]:
    """The lines of a log as the run printed them."""
    return (line if isinstance(line, str) else line[2].rstrip("\n") for line in _lines(entries(raw)))


def _lines(told: Iterable[dict[str, Any] | str]) -> Iterator[tuple[float, Any, str] | str]:
    """Time, stream and text of each line."""
    line, start, stream = "", 0.0, None
    for entry in told:
        if isinstance(entry, str):
            yield entry
            continue
        if line and entry["stream_name"] != stream:
            yield start, stream, line
            line = ""
        for piece in PIECE.findall(text_of(entry)):
            if not line:
                start, stream = _seconds(entry["time"], start), entry["stream_name"]
            line += piece
            if piece.endswith("\n"):
                yield start, stream, line
                line = ""
    if line:
        yield start, stream, line


def text_of(entry: dict[str, Any]) -> str:
    """What the run printed with that entry."""
    data = entry["data"]
    return data if isinstance(data, str) else json.dumps(data) if data is not None else ""


def _seconds(time: Any, before: float) -> float:
    """An entry's time, or that of the line before where it is none."""
    try:
        return float(time)
    except (TypeError, ValueError, OverflowError):
        return before


def _line(start: float, stream: Any, text: str) -> str:
    # A progress bar rewrites its line: only the last state is worth reading.
    return f"{start:9.1f} {'!' if stream == 'stderr' else ' '} {text.rstrip().rpartition(chr(13))[2]}"


def entries(raw: str) -> Iterator[dict[str, Any] | str]:
    """The entries of a log, `{stream_name, time, data}`, each a piece of a line or several lines.

    Kaggle keeps a JSON list of them, an entry a line; while a run goes on the list has no end yet. What is not of that
    form is passed on as it stands.
    """
    try:
        found = json.loads(raw)
        texts = [json.dumps(each) for each in found] if isinstance(found, list) else [raw]
    except ValueError:
        texts = raw.split("\n")
    for text in texts:
        try:
            entry = json.loads(text.strip().lstrip("[,").rstrip("],") or "null")
        except ValueError:
            entry = text
        if isinstance(entry, dict) and {"stream_name", "time", "data"} <= set(entry):
            yield entry
        elif entry is not None:
            yield text
