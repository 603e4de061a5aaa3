"""Proving, of `python -m tests.bench`: its time on the T4's whole set against sha256sum, and what it finds.

Needs the wheels themselves: `make wheels`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.proofs import closure, hashes
from packer.proofs.subject import Subject
from packer.proofs.verify import Report, verify
from packer.proofs.wheel_metadata import gather
from packer.wheels import images, locks
from packer.wheels.images import Image

Figures = Iterator[tuple[str, float, str]]
REMOVALS = 50
CONFIG = ROOT / "configs" / "t4x2.toml"


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy(image: Image, folder: Path) -> Image:
    """The project around the image in `folder`, its wheels hard-linked."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("cascade", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (image.path, image.requirements, image.lock):
        shutil.copy(path, folder / "wheels")
    shutil.copytree(image.wheels, folder / "wheels" / image.name, copy_function=os.link)
    return images.load(image.name, folder / "wheels")


def verify_figures(folder: Path) -> Figures:
    """First and later proofs in seconds, next to sha256sum's; what was named of 50 removals, twice.

    Whoever reads the files first brings them into the page cache, so each is first once; the shorter time counts.
    """
    image = copy(images.load("kaggle-t4x2", ROOT / "wheels"), folder / "verify")
    runs = [configs.load(CONFIG)]
    paths = sorted(image.wheels.glob("*.whl"))
    reports: list[Report] = []
    works: list[Callable[[], object]] = [
        lambda: subprocess.run(["sha256sum", *paths], stdout=subprocess.DEVNULL, check=True),
        lambda: reports.append(verify(image, runs, full=True)),
    ]
    turns = [[timed(works[0]), timed(works[1])], [timed(work) for work in reversed(works)][::-1]]
    hashing, first = (min(times) for times in zip(*turns, strict=True))
    second = timed(lambda: reports.append(verify(image, runs)))
    yield "verify_sha256sum", hashing, "s"
    yield "verify_first", first, "s"
    yield "verify_first_beyond_1.5_sha256sum", first - 1.5 * hashing, "s"  # at most 90
    yield "verify_second", second, "s"
    yield "verify_false_alarms", sum(each.status == "failed" for each in reports[0].findings), "findings"
    yield "verify_named_of_removed_with_lock_line", named(image, REMOVALS, whole=True), "of 50"
    yield "verify_named_of_removed_wheels", named(image, REMOVALS, whole=False), "of 50"


def named(image: Image, count: int, whole: bool) -> int:
    """Of so many packages taken away at random, one at a time, how many are named with who asked.

    `whole`: with its lines in the lock. Packages that nothing requires are not taken.
    """
    random.seed(1)
    memory = image.project.parent / "build" / "verify" / image.name
    text = image.lock.read_text(encoding="utf-8")
    pins = locks.read(image.lock)
    facts = {each.name: each for each in gather(image.wheels, memory)}
    required = sorted(pins.keys() & facts.keys() & Subject(image, pins, [*facts.values()], [], [], memory).asked.keys())
    found, aside = 0, image.project.parent / "aside.whl"
    for name in random.sample(required, count):
        facts[name].path.rename(aside)
        if whole:
            image.lock.write_text(re.sub(rf"^{name}==.*\n(?:    .*\n)*", "", text, flags=re.MULTILINE))
        bundle = Subject(image, locks.read(image.lock), gather(image.wheels, memory), [], [], memory)
        findings = closure.prove(bundle) if whole else hashes.prove(bundle)
        found += any(each.package == name and name in each.wants and bool(each.asked_by) for each in findings)
        aside.rename(facts[name].path)
        image.lock.write_text(text)
    return found
