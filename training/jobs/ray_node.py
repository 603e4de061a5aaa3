"""A job on a node of a Ray cluster: what runs there, before and beside the project's own code.

It goes to the node by value, and so imports nothing of the project: which version of that is there is its first
question.
"""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK = 0.5  # seconds between two looks at a job that says nothing
# Run by whichever Python and in whichever folder a job is, it prints a digest of the code that the job will import.
VERSION = """
import hashlib, importlib.util, pathlib
digest = hashlib.sha256()
for name in ("cascade", "training"):
    root = pathlib.Path(importlib.util.find_spec(name).origin).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{name}/{path.relative_to(root).as_posix()}:".encode() + path.read_bytes())
print(digest.hexdigest())
"""


@dataclass(frozen=True)
class Order:
    """What a node must know of a job. Paths are whole ones, as the machine that sends it has them.

    folder: the current one. mark, text: a file and what it says where the node shares the training's folder. reads: the
    SHA-256 of each file. sent: these files' contents in the object store; None: they are not sent yet. leaves: what
    comes back from a node that shares nothing.
    """

    command: tuple[str, ...]
    folder: str
    mark: str
    text: str
    reads: Mapping[str, str]
    sent: Mapping[str, Any] | None
    leaves: tuple[str, ...]
    version: str
    environment: Mapping[str, str]


def work(order: Order) -> Iterator[tuple[str, Any]]:
    """Does the job, and tells of it: `send` alone where its files are not here, `version` alone where the code differs.

    Else `began` with the node's name, `log` with what the job writes, `file` with a path and bytes for each file that
    it left where nothing is shared, and `ended` with its exit code.
    """
    shared = _is_shared(order)
    if not shared and order.sent is None:
        yield "send", None
        return
    place = Path("/") if shared else Path(tempfile.mkdtemp(prefix="cascade-job-"))
    try:
        folder = inside(place, order.folder)
        folder.mkdir(parents=True, exist_ok=True)
        found = version(folder)
        if found != order.version:
            yield "version", (_name(), found)
            return
        yield "began", _name()
        if not shared:
            _fetch(order, place)
        code = yield from _run(order, place, folder)
        if not shared and code == 0:
            yield from _left(order, place)
        yield "ended", code
    finally:
        if not shared:
            shutil.rmtree(place, ignore_errors=True)


def inside(place: Path, path: str) -> Path:
    """Where a path lies below `place`, which stands for the root of the machine that it is of."""
    return place / path.lstrip("/")


def version(folder: Path) -> str:
    """The digest of the code that a job in this folder will import; the error's last line where it has none."""
    done = subprocess.run([sys.executable, "-c", VERSION], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr or "no answer").strip().splitlines()[-1]


def _name() -> str:
    return os.uname().nodename


def _is_shared(order: Order) -> bool:
    """Whether this node sees the training's own folder, and all that the job reads as it is there."""
    try:
        if Path(order.mark).read_text(encoding="utf-8") != order.text:
            return False
        for path, sha256 in order.reads.items():
            with Path(path).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return False
    except OSError:
        return False
    return True


def _fetch(order: Order, place: Path) -> None:
    import ray

    assert order.sent is not None
    for path, content in order.sent.items():
        target = inside(place, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        data: bytes = ray.get(content)
        if hashlib.sha256(data).hexdigest() != order.reads[path]:
            raise ValueError(f"{path} changed while the job was sent")
        target.write_bytes(data)


def _left(order: Order, place: Path) -> Iterator[tuple[str, Any]]:
    for path in order.leaves:
        whole = inside(place, path)
        for each in sorted(whole.rglob("*")) if whole.is_dir() else [whole]:
            if each.is_file():
                yield "file", ("/" + each.relative_to(place).as_posix(), each.read_bytes())


def _run(order: Order, place: Path, folder: Path) -> Generator[tuple[str, Any], None, int]:
    words = [str(inside(place, word)) if word.startswith("/") else word for word in order.command]
    own = {"PYTHONUNBUFFERED": "1", "CASCADE_PARENT": str(os.getpid()), **order.environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "cascade.processes.die_with_parent", *words], cwd=folder, env=os.environ | own,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        code, said = None, b""
        while code is None or said:  # what a child of its own still holds the pipe for is not waited for
            code = process.poll()
            said = b""
            if select.select([process.stdout], [], [], LOOK if code is None else 0)[0]:
                said = os.read(process.stdout.fileno(), 1 << 16)
                if said:
                    yield "log", said
                elif code is None:
                    code = process.wait()
        return code
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    import psutil  # each node has it: Ray brings its own

    try:
        root = psutil.Process(process.pid)
        for each in [*root.children(recursive=True), root]:
            each.kill()
    except psutil.Error:  # gone already
        pass
    process.wait()
