"""A hashed lock as uv writes it: `name==version`, its SHA-256 hashes, and who asked for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cascade.base import atomic
from cascade.base.errors import CascadeError

HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


class LockError(CascadeError):
    """A lock that cannot be used; names the file and line."""


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a package by its canonical name. `hashes`: SHA-256, in hex, of its files."""

    name: str
    version: Version
    hashes: frozenset[str]
    asked_by: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read(path: Path) -> dict[str, Pin]:
    """The pins by canonical name; LockError where a line has no version or no hash, or a package stands twice."""
    if not path.is_file():
        raise LockError("no such lock", path=path, mend=f"run: make wheels IMAGE={path.stem}")
    pins: dict[str, Pin] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        first = number
        text = lines[number]
        while text.endswith("\\") and number + 1 < len(lines):
            number += 1
            text = text[:-1] + lines[number]
        number += 1
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        comments = []  # uv writes who asked below, a line each
        while number < len(lines) and lines[number].startswith("    #"):
            comments.append(lines[number].strip(" #").removeprefix("via").strip())
            number += 1
        # A constraint asks for nothing.
        asked_by = tuple(each for each in comments if each and not each.startswith("-c "))
        pin = _pin(text, asked_by, path, first + 1)
        if pin.name in pins:
            raise LockError(
                f"{pin.name} occurs twice", path=path, key=f"line {first + 1}", mend="lock again: make wheels"
            )
        pins[pin.name] = pin
    return pins


def add_hash(path: Path, pin: Pin, sha256: str) -> None:
    """Adds to the pin the hash of a wheel that was built of its source: who installs checks it like any other."""
    if sha256 in pin.hashes:
        return
    text = path.read_text(encoding="utf-8")
    first = re.search(rf"^{re.escape(pin.name)}==\S+ \\\n", text, re.MULTILINE)
    if first is None:
        raise LockError(f"{pin} is not written as uv writes it", path=path, mend="lock again: make wheels UPGRADE=1")
    atomic.write_text(path, f"{text[: first.end()]}    --hash=sha256:{sha256} \\\n{text[first.end() :]}")


def _pin(text: str, asked_by: tuple[str, ...], path: Path, line: int) -> Pin:
    hashes = frozenset(HASH.findall(text))
    try:
        requirement = Requirement(text.partition(" --hash")[0].strip())
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise LockError(
            f"'{text.strip()[:60]}' is not a pinned package ({why})",
            path=path,
            key=f"line {line}",
            mend="lock again: make wheels",
        ) from error
    pinned = [each for each in requirement.specifier if each.operator == "=="]
    if len(pinned) != 1 or "*" in pinned[0].version:
        raise LockError(
            f"{requirement.name} is not pinned to one version",
            path=path,
            key=f"line {line}",
            mend="lock again: make wheels",
        )
    if not hashes:
        raise LockError(
            f"{requirement.name} has no sha256 hash",
            path=path,
            key=f"line {line}",
            mend="lock again with hashes: make wheels",
        )
    return Pin(canonicalize_name(requirement.name), Version(pinned[0].version), hashes, asked_by)
