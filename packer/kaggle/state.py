"""What was pushed and submitted last, on disk, so that the next command knows it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cascade.base import atomic
from cascade.base.errors import CascadeError

FOLDER = Path("build/kernel")
ATTEMPT = "attempt"  # what is remembered of a push until it is seen to be done


class StateError(CascadeError):
    """What was pushed is not known, or its file cannot be read or written."""


@dataclass(frozen=True)
class Pushed:
    """One version of the kernel. `commit`: of the tree it was pushed from, empty without git; `at`: UTC, ISO.

    `ran`: whether the push started a run of it.
    """

    owner: str
    slug: str
    version: int
    url: str
    competition: str
    config: str
    image: str
    commit: str
    dirty: bool
    at: str
    ran: bool = True

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/code/{self.owner}/{self.slug}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def remember(name: str, record: Pushed | dict[str, Any], folder: Path = FOLDER) -> None:
    table = asdict(record) if isinstance(record, Pushed) else record
    write_whole(folder / f"{name}.json", json.dumps(table, indent=2) + "\n")


def recall(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What was remembered under that name, empty if nothing was; StateError where the file cannot be read."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(f"not JSON ({error})", path=path, mend="delete it") from error
    if not isinstance(found, dict):
        raise StateError("is not a record of a push", path=path, mend="delete it")
    return found


def last_pushed(folder: Path = FOLDER) -> Pushed:
    """The kernel that was pushed last; StateError where none was."""
    found = recall("state", folder)
    if not found:
        raise StateError("no kernel was pushed from here yet", path=folder / "state.json", mend="run: make push-kernel")
    try:
        return Pushed(**found)
    except TypeError as error:
        raise StateError(
            f"not what a push writes ({error})",
            path=folder / "state.json",
            mend="delete it, then run: make push-kernel",
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Writes the text whole; StateError where the disk does not take it."""
    try:
        atomic.write_text(path, text)
    except OSError as error:
        raise StateError(
            f"cannot be written ({error.strerror})", path=path, mend="free some space, or correct its permissions"
        ) from error
