"""What is proved: an image's lock, the wheels on disk, the requirements, and the configs that are to run on it."""

from __future__ import annotations

import tomllib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cascade.base.errors import CascadeError
from cascade.config.schema import Config
from packer.proofs.wheel_metadata import WheelMetadata
from packer.vllm.api import read_names
from packer.wheels import requirements
from packer.wheels.images import Image
from packer.wheels.locks import Pin

# What the kernel itself wants, whatever the run: uv makes the environment, in which stages run under papermill on
# ipykernel, and the image's sitecustomize imports wrapt in every interpreter.
KERNEL = ("uv", "wrapt", "papermill", "ipykernel")


class BundleError(CascadeError):
    """Requirements that cannot be read; names the file and the mend."""


@dataclass(frozen=True)
class Finding:
    """A problem: `package` lacks what it `wants`, or is what it should not be.

    `asked_by`: chains, the project first. A note is no fault: it is worth knowing, and there is nothing to do.
    """

    package: str
    wants: str
    mend: str
    asked_by: tuple[str, ...] = ()
    status: Literal["failed", "not proved", "note"] = "failed"


@dataclass(frozen=True)
class Asked:
    """A requirement that holds for the image, and the chain of who asks: the project, then packages."""

    requirement: Requirement
    chain: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)


def readable(line: str) -> bool:
    """Whether it is a requirement: old wheels' METADATA have lines that no standard knows."""
    try:
        Requirement(line)
    except InvalidRequirement:
        return False
    return True


@dataclass(frozen=True)
class Subject:
    """`others`: what in the wheels' folder is none. `memory`: the folder of what was read before."""

    image: Image
    pins: dict[str, Pin]
    facts: list[WheelMetadata]
    others: list[Path]
    configs: list[Config]
    memory: Path

    @property
    def project(self) -> Path:
        """The folder of pyproject.toml, cascade/ and notebooks/."""
        return self.image.project.parent

    @property
    def has_kernel(self) -> bool:
        """Whether there are notebooks for the kernel to run."""
        return (self.project / "notebooks").is_dir()

    @cached_property
    def wheels(self) -> dict[str, WheelMetadata]:
        """The usable wheel of each package; of several the one that the lock names."""
        found: dict[str, WheelMetadata] = {}
        for facts in self.facts:
            pin = self.pins.get(facts.name)
            if not facts.broken and (facts.name not in found or (pin is not None and facts.sha256 in pin.hashes)):
                found[facts.name] = facts
        return found

    @cached_property
    def vllm(self) -> dict[str, Any] | None:
        """What vLLM's wheel offers; WheelError where it cannot be read as one, None where there is none."""
        facts = self.wheels.get("vllm")
        return read_names(facts.path) if facts is not None else None

    @cached_property
    def asked(self) -> dict[str, list[Asked]]:
        """Every requirement that the project leads to, by package; each package's shortest chain first."""
        found: dict[str, list[Asked]] = {}
        seen: set[tuple[str, str]] = set()
        waiting = deque(self.roots())
        while waiting:
            each = waiting.popleft()
            found.setdefault(each.name, []).append(each)
            wheel = self.wheels.get(each.name)
            for extra in ("", *sorted(each.requirement.extras)):
                if wheel is not None and (each.name, extra) not in seen:
                    seen.add((each.name, extra))
                    who = f"{wheel.name}[{extra}] {wheel.version}" if extra else str(wheel)
                    lines = [line for line in wheel.requires if readable(line)]
                    waiting.extend(self._holding(lines, extra, (*each.chain, who), wheel.file))
        return found

    def roots(self) -> Iterator[Asked]:
        """What the project itself asks for on this image, and what the kernel needs to run its notebooks."""
        if self.has_kernel:
            yield from self._holding(KERNEL, "", ("the kernel",), "packer/proofs/subject.py")
        path = self.image.project
        try:
            project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
            name = str(project["name"])
            groups = {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}
            for group in ("", *self.image.extras):
                who = f"{name}[{group}]" if group else name
                yield from self._holding(groups[group], "", (who,), str(path))
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            mend = f"correct it, or the extras of {self.image.path}"
            raise BundleError(
                f"contains no requirements ({type(error).__name__}: {error})", path=path, mend=mend
            ) from error
        for line in requirements.wanted(requirements.read(self.image.requirements)):
            yield from self._holding([line.text], "", (line.path.name,), line.where)

    def _holding(
        self, lines: tuple[str, ...] | list[str], extra: str, chain: tuple[str, ...], where: str
    ) -> list[Asked]:
        """Those of the requirements that hold on the image. Those of an extra are what it adds."""
        markers, found = self.image.markers(), []
        for line in lines:
            try:
                requirement = Requirement(line)
            except InvalidRequirement as error:
                raise BundleError(f"'{line}' is not a requirement ({error})", path=where, mend="correct it") from error
            marker = requirement.marker
            plain = marker is None or marker.evaluate({**markers, "extra": ""})
            if (
                plain
                if not extra
                else (not plain and marker is not None and marker.evaluate({**markers, "extra": extra}))
            ):
                found.append(Asked(requirement, chain))
        return found

    def chains(self, package: str) -> tuple[str, ...]:
        """Who asks for a package: what its wheels' METADATA say, else what the lock says."""
        asked = [" → ".join([*each.chain, package]) for each in self.asked.get(package, [])]
        pin = self.pins.get(package)
        return tuple(dict.fromkeys(asked)) or (pin.asked_by if pin is not None else ())
