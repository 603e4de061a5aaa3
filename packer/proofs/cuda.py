"""No wheel is for another CUDA than the image's, none needs a library of it that is missing, and the driver runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from cascade.kaggle.checks import OLDEST_DRIVER
from packer.proofs.subject import Finding, Subject
from packer.proofs.wheel_metadata import WheelMetadata

# How a package says for which CUDA it is: in its name, or, since CUDA 13, by its version; else by a local version.
NAMED = re.compile(r"(?:^nvidia-.+-cu|^cupy-cuda)(\d+)x?$")
NUMBERED = re.compile(r"^(?:nvidia-cuda-(?:runtime|nvrtc|cupti)|nvidia-cublas|cuda-bindings|cuda-python)$")
LOCAL = re.compile(r"^cu(\d+)\d$")
EXTRAS = re.compile(r"\[.*\]")  # of who requires a package
LIBRARIES = re.compile(r"^lib(?:cu[a-z]|nv[A-Zjprs]|nccl)\w*\.so")
DRIVERS = {"libcuda.so.1", "libcudadebugger.so.1", "libnvcuvid.so.1", "libnvidia-ml.so.1"}  # the driver's own
# A library that is there once for every CUDA, of which the package takes the one that fits: bitsandbytes' do.
VARIANT = re.compile(r"_cuda(\d+)(\d)\.so$")


def prove(bundle: Subject) -> list[Finding]:
    if bundle.image.cuda is None:
        return []
    major = int(bundle.image.cuda.partition(".")[0])
    provided = {file.rpartition("/")[2] for facts in bundle.wheels.values() for file in facts.files} | DRIVERS
    found = [*_driver(bundle, major)]
    for facts in bundle.wheels.values():
        wanted = _built_for(facts)
        if wanted not in (None, major):
            twin = _twin(bundle, facts.name, major)
            told = f"{facts.file} is built for CUDA {wanted}"
            if twin:
                wants = f"{told}, and stands beside {twin}, of which what requires both takes the one that matches"
                found.append(Finding(facts.name, wants, "", bundle.chains(facts.name), "note"))
            else:
                found.append(_finding(bundle, facts, told))
        for library, needed in _needed(facts, major):
            if needed not in provided:
                found.append(_finding(bundle, facts, f"{library} requires {needed}, which no wheel has"))
    return found


def _built_for(facts: WheelMetadata) -> int | None:
    """The major version of CUDA that a package's name or version tells."""
    version = Version(facts.version)
    if match := NAMED.match(facts.name):
        return int(match[1])
    if match := LOCAL.match(version.local or ""):
        return int(match[1])
    return version.major if NUMBERED.match(facts.name) else None


def _twin(bundle: Subject, name: str, major: int) -> str:
    """The same package for the image's CUDA, where whoever requires the one requires the other too; else "".

    nvidia-cutlass-dsl 4.8 always brings its libraries for CUDA 12, and by an extra those for 13, in a folder each.
    """
    twin = re.sub(r"cu\d+$", f"cu{major}", name)
    askers, others = (
        {EXTRAS.sub("", each.chain[-1]) for each in bundle.asked.get(key, [])} for key in (name, twin)
    )  # fmt: skip
    return twin if twin != name and twin in bundle.wheels and askers and askers <= others else ""


def _needed(facts: WheelMetadata, major: int) -> Iterator[tuple[str, str]]:
    """(library, what it needs of CUDA's libraries)."""
    for library in facts.libraries:
        variant = VARIANT.search(library.path)
        if variant is None or int(variant[1]) == major:
            yield from ((library.path, needed) for needed in library.needed if LIBRARIES.match(needed))


def _driver(bundle: Subject, major: int) -> Iterator[Finding]:
    driver, mend = bundle.image.driver, f"correct cuda or driver in {bundle.image.path}"
    if driver is None:
        yield Finding("driver", f"{bundle.image.path} names no driver", mend, status="not proved")
    elif major not in OLDEST_DRIVER:
        wants = f"which driver CUDA {major} requires is not known here"
        yield Finding("driver", wants, "add it to packer/proofs/cuda.py", status="not proved")
    elif Version(driver) < Version(OLDEST_DRIVER[major]):
        yield Finding(
            "driver", f"CUDA {major} requires a driver of {OLDEST_DRIVER[major]} or later, not {driver}", mend
        )


def _finding(bundle: Subject, facts: WheelMetadata, wants: str) -> Finding:
    mend = f"pin a version of it for CUDA {bundle.image.cuda} in {bundle.image.requirements}"
    return Finding(facts.name, f"{wants}; the image has CUDA {bundle.image.cuda}", mend, bundle.chains(facts.name))
