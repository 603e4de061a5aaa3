"""Files into Kaggle's store, several at a time; after any cut each goes on from the byte that the store confirmed.

The requests are kagglesdk's own, the bytes go by Google's resumable protocol. Why no client's upload, seen with 20 MB
on a server of ours that closed the connection after 7 MB and again after 5:
- kaggle 2.2.4 sent the whole file from its start after each cut (12.6 MB twice), and resumes in its next run only, from
  a state in /tmp; a folder travels as a zip.
- kagglehub 1.0.2 went on from the confirmed byte, but keeps nothing for its next run, sends one file at a time, packs
  more than 50 into one zip, sets no licence and no subtitle, and makes a new version even of the same files.
- kagglesdk 0.1.37 uploads nothing by itself; its requests carry `directories`, which keep a tree.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cascade.base import atomic
from cascade.base.errors import CascadeError
from cascade.base.manifest import Entry
from packer.kaggle.answers import AnswerError, present
from packer.kaggle.session import KaggleError, Session

WORKERS = 4
CHUNK = 8 << 20  # a multiple of 256 KiB, the store's unit; at least 8 MiB is Google's advice
SLICE = 256 << 10
VALID = 6 * 24 * 3600  # seconds; the kaggle client's RESUMABLE_UPLOAD_EXPIRY_SECONDS: the store forgets after a week
STARTS = 3  # of one file in a run, where the store forgets it at once
TIMEOUT = (30, 300)  # seconds to connect, and of silence


class UploadError(CascadeError):
    """A file that cannot be uploaded as its manifest has it; names it and the mend."""


@dataclass(frozen=True)
class Record:
    """One file's upload: `token` is what a dataset's request names it by, `started` is in Unix seconds."""

    name: str
    size: int
    sha256: str
    token: str
    url: str
    started: float
    complete: bool = False


@dataclass(frozen=True)
class Sent:
    """`tokens` by file name, in the order asked for; `size`: bytes that went over the wire in this run."""

    tokens: dict[str, str]
    size: int


class State:
    """What was begun and what is complete, a line of JSON a file: written whole, so that a run may end anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            self.records = {record.name: record for record in (Record(**json.loads(line)) for line in lines)}
        except (OSError, ValueError, TypeError) as error:
            raise UploadError(
                f"cannot be read ({error})", path=path, mend="remove it to upload from the start"
            ) from error

    def find(self, name: str, entry: Entry) -> Record | None:
        """What is known of this very file, as long as the store remembers it."""
        record = self.records.get(name)
        same = record and (record.size, record.sha256) == (entry.size, entry.sha256)
        return record if record and same and time.time() - record.started < VALID else None

    def put(self, record: Record) -> None:
        with self.lock:
            self.records[record.name] = record
            lines = "".join(json.dumps(asdict(each)) + "\n" for each in self.records.values())
            try:
                with atomic.replaced(self.path) as partial:
                    partial.touch(mode=0o600)  # whoever has an upload's address may write to it
                    partial.write_text(lines, encoding="utf-8")
            except OSError as error:
                raise UploadError(
                    f"cannot be written ({error.strerror})", path=self.path, mend="free some space and push again"
                ) from error


def upload(session: Session, folder: Path, files: Mapping[str, Entry], state: State) -> Sent:
    """Uploads `files` of `folder`, what `state` knows to be complete left out.

    A file's last bytes are sent only once its SHA-256 is the manifest's: UploadError where it is not.
    """
    stopped = threading.Event()
    known = {name: state.find(name, entry) for name, entry in files.items()}
    waiting = [name for name, record in known.items() if not (record and record.complete)]
    waiting.sort(key=lambda name: files[name].size, reverse=True)  # the longest is not left for the end
    total = sum(entry.size for entry in files.values())
    with _bar() as bar, ThreadPoolExecutor(WORKERS) as pool:
        task = bar.add_task(folder.name, total=total, completed=total - sum(files[name].size for name in waiting))
        senders = [
            _Sender(session, folder / name, name, files[name], state, stopped, lambda size: bar.advance(task, size))
            for name in waiting
        ]
        try:
            for done in as_completed([pool.submit(sender.run) for sender in senders]):
                done.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Sent({name: state.records[name].token for name in files}, sum(sender.sent for sender in senders))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )


class _StoppedError(Exception):
    """Another file has failed, or the user has had enough."""


class _Sender:
    """One file on its way. `confirmed`: bytes that the store has; None where only it knows. `farthest`: its most ever.

    `advance` is told how far the bar has to move, `shown` is where it stands; `sent` counts bytes over the wire;
    `digest` is of the file's first `hashed` bytes.
    """

    def __init__(
        self, session: Session, path: Path, name: str, entry: Entry, state: State, stopped: threading.Event,
        advance: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.session, self.path, self.name, self.entry = session, path, name, entry
        self.state, self.stopped, self.advance = state, stopped, advance
        self.record = state.find(name, entry)
        self.confirmed: int | None = None
        self.farthest = self.shown = self.sent = self.starts = self.hashed = 0
        self.digest = hashlib.sha256()

    def run(self) -> None:
        from requests import Session as Connection

        self._check(self.path.stat().st_size == self.entry.size)
        with self.path.open("rb") as self.file, Connection() as self.connection:
            while self.record is None or not self.record.complete:
                if self.record is None:
                    self._start()
                self.session.call(f"upload of {self.name}", self._next, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise _StoppedError

    def _start(self) -> None:
        """Asks for a place in the store."""
        from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

        self.starts += 1
        if self.starts > STARTS:
            raise KaggleError("Kaggle's store loses it each time", key=f"upload of {self.name}", mend="try again later")
        request = ApiStartBlobUploadRequest()
        request.type = ApiBlobType.DATASET
        request.name = self.path.name
        request.content_length = self.entry.size
        request.last_modified_epoch_seconds = int(self.path.stat().st_mtime)
        begin = self.session.client.blobs.blob_api_client.start_blob_upload

        def ask() -> tuple[str, str]:
            answer = begin(request)
            return present(answer.token, "token"), present(answer.create_url, "createUrl")

        place = self.session.call(f"upload of {self.name}", ask, sleep=self._sleep)
        self.record = Record(self.name, self.entry.size, self.entry.sha256, *place, time.time())
        self.state.put(self.record)
        self._show(0)
        self.confirmed = self.farthest = 0

    def _next(self) -> None:
        """Sends the next chunk. After a cut the store is asked first: the chunk may have arrived, whole or in part."""
        from requests import ConnectionError as Unreachable

        start, self.confirmed = self.confirmed, None
        if start is None:
            start = self._take(self._put(b"", f"bytes */{self.entry.size}"))
            if start is None:
                return
            if start > self.farthest:  # a call that brought something: the next has all of its patience again
                self.confirmed = self.farthest = start
                return
        body = self._chunk(start)
        confirmed = self._take(self._put(body, f"bytes {start}-{start + len(body) - 1}/{self.entry.size}"))
        if confirmed is not None and confirmed <= start:
            raise Unreachable("the store kept nothing of a chunk")
        self.confirmed, self.farthest = confirmed, max(self.farthest, confirmed or 0)

    def _chunk(self, start: int) -> bytes:
        """The bytes to send from `start`; the digest has then seen all before their end."""
        for offset in range(self.hashed, start, CHUNK):  # what an earlier run sent
            self._digest(offset, self._read(offset, min(CHUNK, start - offset)))
        data = self._read(start, min(CHUNK, self.entry.size - start))
        self._digest(start, data)
        if self.hashed == self.entry.size:
            self._check(self.digest.hexdigest() == self.entry.sha256)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        data = self.file.read(length)
        self._check(len(data) == length)
        return data

    def _digest(self, offset: int, data: bytes) -> None:
        new = memoryview(data)[self.hashed - offset :]
        self.digest.update(new)
        self.hashed += len(new)

    def _check(self, fits: bool) -> None:
        if not fits:
            raise UploadError("has changed since its manifest was made", path=self.path, mend="run: make pack")

    def _put(self, data: bytes, spread: str) -> Any:
        assert self.record is not None
        headers = {"Content-Type": "application/octet-stream"}
        if self.entry.size:  # no range is of nothing
            headers["Content-Range"] = spread
        body: Any = _Body(data, self._said) if data else b""
        # 308 is "go on" here, no redirection.
        return self.connection.put(self.record.url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)

    def _said(self, size: int) -> None:
        if self.stopped.is_set():
            raise _StoppedError
        self.sent += size
        self._show(self.shown + size)

    def _show(self, size: int) -> None:
        self.advance(size - self.shown)
        self.shown = size

    def _take(self, answer: Any) -> int | None:
        """How many bytes the store confirms; None where the upload is complete, or forgotten: `record` then says so."""
        from requests import HTTPError

        assert self.record is not None
        if answer.status_code in (404, 410):
            self.record = None
            return None
        if answer.status_code in (200, 201):
            self.record = replace(self.record, complete=True)
            self.state.put(self.record)
            self._show(self.entry.size)
            return None
        if answer.status_code != 308:  # said without the address, to which whoever has it may write
            raise HTTPError(f"{answer.reason} {answer.text[:200]}", response=answer)
        _, _, last = answer.headers.get("Range", "").rpartition("-")
        confirmed = int(last) + 1 if last else 0
        if confirmed > self.entry.size:
            raise AnswerError(f"the store confirms {confirmed} bytes of {self.entry.size}")
        self._show(confirmed)
        return confirmed


class _Body:
    """Bytes for requests to send in slices: their length is known, and each slice is told to `said` beforehand."""

    def __init__(self, data: bytes, said: Callable[[int], None]) -> None:
        self.data, self.said = data, said

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self.data)
        for start in range(0, len(view), SLICE):
            part = view[start : start + SLICE]
            self.said(len(part))
            yield part
