"""A job: one command with what it reads and what it leaves, and a record by which a later run knows it is done."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.base import atomic
from cascade.base.manifest import sha256


@dataclass(frozen=True)
class Job:
    """A step of a training. `name`: such as `fold-0/retriever-minilm`; its last part says what kind of step it is.

    command: a module and its arguments. reads, leaves: files or folders. about: what the config says of it, as text.
    needs: names of the jobs that make what it reads. scores: a JSON file that it leaves, whose MAP the table shows.
    whole: it takes all devices, so nothing runs beside it. resumes: it takes --checkpoints, a folder to go on from.
    takes: what it opens besides, which does not decide whether it is due but must be where it runs. also: what it may
    leave besides.
    """

    name: str
    command: tuple[str, ...]
    reads: tuple[Path, ...]
    leaves: tuple[Path, ...]
    about: str = ""
    needs: tuple[str, ...] = ()
    scores: Path | None = None
    whole: bool = False
    resumes: bool = False
    takes: tuple[Path, ...] = ()
    also: tuple[Path, ...] = ()

    def digest(self) -> str:
        """What it is known by: its command and settings, the training's code, and the contents of what it reads."""
        told = {"command": self.command, "about": self.about, "code": code(), "reads": contents(self.reads)}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def record_path(self, root: Path) -> Path:
        return root / "jobs" / f"{self.name.replace('/', '.')}.json"

    def log_path(self, root: Path) -> Path:
        return root / "logs" / f"{self.name.replace('/', '.')}.log"

    def checkpoints(self, root: Path, digest: str) -> Path:
        """Where it keeps what it goes on from; that of another digest is never taken up."""
        return root / "checkpoints" / self.name.replace("/", ".") / digest[:16]

    def going_on(self, root: Path, digest: str) -> Job:
        """The job as it is started: told where its checkpoints are, which do not decide what it makes."""
        if not self.resumes:
            return self
        return replace(self, command=(*self.command, "--checkpoints", str(self.checkpoints(root, digest))))

    def record(self, root: Path) -> dict[str, Any]:
        """What its last whole run left behind; empty where there was none."""
        try:
            found: dict[str, Any] = json.loads(self.record_path(root).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def seconds(self, root: Path) -> float:
        """What its last whole run took; 0 where nothing tells."""
        found = self.record(root).get("seconds")
        return float(found) if isinstance(found, int | float) else 0.0

    def is_done(self, root: Path) -> bool:
        """Whether all that it read is as it was, and all that it left as well."""
        found = self.record(root)
        return bool(found) and found.get("digest") == self.digest() and found.get("leaves") == contents(self.leaves)

    def note(self, root: Path, digest: str, seconds: float) -> None:
        """Records a run that ended well, and what began it."""
        told = {
            "name": self.name, "digest": digest, "command": [*self.command], "seconds": round(seconds, 1),
            "leaves": contents(self.leaves), "scores": str(self.scores) if self.scores is not None else None,
        }  # fmt: skip
        atomic.write_text(self.record_path(root), json.dumps(told, indent=1) + "\n")


def contents(paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file at or under these paths; of one that is not there, the word for that."""
    return {str(path): sha256(path) if path.is_file() else "not there" for path in _files(paths)}


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else []
        yield from found or [path]


@functools.cache
def code() -> str:
    """A digest of this package's own source, on which what is trained depends; that of the runner is none of it."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.glob("*.py")):
        if path.name != "__init__.py":
            digest.update(f"{path.name}:{sha256(path)}\n".encode())
    return digest.hexdigest()
