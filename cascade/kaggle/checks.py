"""What the kernel looks at before it installs anything: image, inputs, GPUs, disk. No check raises.

Runs in the image's own Python: the standard library, and psutil, which whatever runs a notebook has.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import manifest, runtime
from cascade.base.errors import CascadeError
from cascade.config import handles
from cascade.processes import gpu

GB = 1e9
SPARE = 1 * GB  # of disk, beside what is installed
SHOWN = 3  # of a dataset's differing files
# The oldest driver that runs any release of a major version of CUDA ("CUDA Toolkit Release Notes", table "CUDA Toolkit
# and Minimum Required Driver Version for CUDA Minor Version Compatibility", Linux).
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
NO_ENVIRONMENT = "there may be no environment, and submission zero is kept"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was `found` and, where that is not `ok`, what it `costs` and the `mend`."""

    name: str
    ok: bool
    found: str
    costs: str = ""
    mend: str = ""

    def __str__(self) -> str:
        if self.ok:
            return f"✓ {self.name:<16} {self.found}"
        return f"✗ {self.name:<16} {self.found}; cost: {self.costs}; fix: {self.mend}"


def check(config: Path, scratch: Path, hashed: bool) -> list[Check]:
    """Looks at everything; `scratch` is where the environment is to lie.

    `hashed`: the datasets' files by SHA-256 (5 GB: about a minute, said as it goes), else by their sizes.
    """
    wheels = dataset("wheels")
    about = told(wheels)
    return [
        Check("image", True, os.environ.get("KAGGLE_DOCKER_IMAGE", "unknown; pin it once a commit run shows it")),
        *(_dataset(kind, hashed) for kind in manifest.KINDS if kind != "adapters" or dataset(kind)),
        _python(about),
        *(_gpus(about) if about.get("gpus") else []),
        _disk(wheels, scratch),
        *_inputs(config),
    ]


def dataset(kind: str) -> Path | None:
    """The folder of our dataset of that kind, among the kernel's inputs; None where there is none."""
    return next(iter(manifest.find(runtime.INPUT, kind)), None)


def told(folder: Path | None) -> dict[str, Any]:
    """What a dataset's manifest tells `about` its kind; nothing where there is no dataset."""
    return manifest.read(folder).about if folder else {}


def _dataset(kind: str, hashed: bool) -> Check:
    costs = NO_ENVIRONMENT if kind != "adapters" else "the stages whose adapters differ"
    found = manifest.find(runtime.INPUT, kind)
    if len(found) != 1:
        what = f"{len(found)} datasets of this kind: {', '.join(map(str, found))}" if found else "no such dataset"
        mend = "leave one in the kernel's inputs" if found else "make pack, make push-datasets, make push-kernel"
        return Check(kind, False, f"{what} under {runtime.INPUT}", costs, mend)
    made = manifest.read(found[0])
    problems = manifest.problems(found[0], hashed, _Progress(kind, made.size) if hashed else lambda _: None)
    what = f"{found[0]}, {len(made.files)} files, {made.size / GB:.1f} GB, commit {made.commit[:12] or 'unknown'}"
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        return Check(kind, False, f"{what}: {'; '.join(problems[:SHOWN])}{more}", costs, "make push-datasets")
    return Check(kind, True, f"{what}, {'hashes' if hashed else 'sizes'} as packed")


class _Progress:
    """Says at every whole GB how much of a dataset is read."""

    def __init__(self, kind: str, size: int) -> None:
        self.kind, self.size, self.read = kind, size, 0

    def __call__(self, size: int) -> None:
        before, self.read = self.read, self.read + size
        if before // GB < self.read // GB:
            print(f"{self.kind}: {self.read / GB:.1f} of {self.size / GB:.1f} GB read", flush=True)


def _python(about: dict[str, Any]) -> Check:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wanted = about.get("abi", tag)
    found = f"{'.'.join(map(str, sys.version_info[:3]))} ({tag})"
    if tag == wanted:
        return Check("Python", True, found)
    mend = "pin the image that the wheels are for, or make wheels for this one"
    return Check("Python", False, f"{found}, the wheels are for {wanted}", NO_ENVIRONMENT, mend)


def _gpus(about: dict[str, Any]) -> Iterator[Check]:
    """The driver, the cards, and what Triton compiles its launcher with, which it does on a GPU only."""
    drivers = gpu.nvidia_smi("driver_version")
    mend = "set the kernel's accelerator to the one that the wheels are for"
    if not drivers:
        yield Check("GPUs", False, "nvidia-smi lists none", "every stage that requires a GPU", mend)
        return
    major = int(str(about.get("cuda") or "0").partition(".")[0])
    oldest = OLDEST_DRIVER.get(major, "0")
    new_enough = _numbers(drivers[0]) >= _numbers(oldest)
    yield Check(
        "driver", new_enough, f"{drivers[0]}, CUDA {major} requires {oldest} or later",
        "every stage that requires a GPU", "pin an image with a newer driver, or make wheels for an older CUDA",
    )  # fmt: skip
    cards = gpu.nvidia_smi("compute_cap")
    wanted = str(about.get("capability") or "0")
    enough = len(cards) >= about["gpus"] and all(_numbers(card) >= _numbers(wanted) for card in cards)
    yield Check(
        "GPUs", enough, f"{len(cards)} of capability {', '.join(cards)}; required: {about['gpus']} of {wanted}",
        "the stages that require what is missing", mend,
    )  # fmt: skip
    header = Path(sysconfig.get_path("include"), "Python.h")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    yield Check(
        "compiler", bool(compiler) and header.is_file(), f"{compiler or 'no C compiler'}, "
        f"{header if header.is_file() else f'no {header}'}", "stages on vLLM: Triton compiles when it starts",
        "pin an image that has both",
    )  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _disk(wheels: Path | None, scratch: Path) -> Check:
    there = next(folder for folder in (scratch, *scratch.parents) if folder.is_dir())
    free, needed = shutil.disk_usage(there).free, SPARE + (unpacked_size(wheels) if wheels else 0)
    found = f"{free / GB:.1f} GB free at {there}, {needed / GB:.1f} GB required"
    return Check("disk", free >= needed, found, NO_ENVIRONMENT, "free some, or name another folder by TMPDIR")


def unpacked_size(wheels: Path) -> int:
    """Bytes that the wheels of a dataset take once installed; a wheel that cannot be read counts for nothing."""
    total = 0
    for path in (wheels / "wheels").glob("*.whl"):
        try:
            with zipfile.ZipFile(path) as wheel:
                total += sum(entry.file_size for entry in wheel.infolist())
        except (OSError, zipfile.BadZipFile):
            continue
    return total


def _inputs(config: Path) -> Iterator[Check]:
    """Each model and dataset that an enabled part of the config names by its handle."""
    try:
        read = tomllib.loads(config.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        mend = "correct it, then make pack, make push-datasets, make push-kernel"
        yield Check("config", False, f"{config}: {error}", "every stage: submission zero is kept", mend)
        return
    yield Check("config", True, str(config))
    for handle in sorted(set(_handles(read))):
        try:
            yield Check("input", True, f"{handle} at {handles.find(handle)}")
        except CascadeError as error:
            yield Check("input", False, str(error), "the stages that read it", "make push-kernel")


def _handles(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.partition(":")[0] in handles.SCHEMES:
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _handles(each)
    elif isinstance(value, dict) and value.get("enabled", True):
        yield from _handles(list(value.values()))
