"""One package from the registry by this environment's pip: its wheel, or a pure-Python wheel built of its source."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from threading import Event

from packaging.utils import parse_wheel_filename

from cascade.base.errors import CascadeError
from packer.wheels import indexes
from packer.wheels.images import Image
from packer.wheels.locks import Pin
from packer.wheels.requirements import without_logins

PAUSES = (0, 1, 2, 4, 8)  # seconds before each attempt
DATE = "315532800"  # 1980-01-01, the oldest date that a zip can hold: the same source gives the same wheel
NO_ROOM = "No space left on device"
NO_WHEEL = "No matching distribution found"
OTHER_HASH = "DO NOT MATCH THE HASHES"
# pip finds nothing as well where it reaches no registry; then it has said one of these before.
UNREACHABLE = ("Retrying (", "connection error", "ConnectionError", "Could not fetch URL")
DOWNLOADING = re.compile(r"Downloading \S*?([^/\s]+\.whl)(?:#\S+)?(?: \(([^)]+)\))?")


class WheelsError(CascadeError):
    """A wheel that cannot be had; names the package, who asked for it and the mend."""


class NoRoomError(WheelsError):
    """The disk is full."""


class NoWheelError(WheelsError):
    """The registry has no wheel of a package that fits the image."""


class PassingError(WheelsError):
    """What may be gone at the next attempt."""


class StoppedError(WheelsError):
    """Another package failed first."""


def download(pin: Pin, image: Image, into: Path, stop: Event) -> Path:
    """The pin's wheel for the image in the empty folder `into`, its hash checked; `stop` ends the attempts."""
    options = ["download", "--only-binary=:all:", "--implementation=cp", f"--python-version={image.python_minor}"]
    options += [f"--abi={abi}" for abi in (image.abi, "abi3", "none")]
    options += [f"--platform={platform}" for platform in image.platforms]
    return _pip(pin, image, [*options, f"--dest={into}"], into, stop)


def build(pin: Pin, image: Image, into: Path, stop: Event) -> Path:
    """A wheel of the pin's source, whose hash is checked; WheelsError where it does not build or is not pure Python."""
    options = ["wheel", f"--no-binary={pin.name}", "--ignore-requires-python", f"--wheel-dir={into}"]
    mend = f"choose a version that has a wheel, remove what requires it, or {indexes.mend(image)}"
    try:
        wheel = _pip(pin, image, options, into, stop)
    except NoWheelError as error:
        raise WheelsError(
            f"no wheel matches the image, and no wheel can be built from its source: {error}", key=asked(pin), mend=mend
        ) from error
    tags = parse_wheel_filename(wheel.name)[3]
    if any(tag.abi != "none" or tag.platform != "any" for tag in tags):
        raise WheelsError(
            f"no wheel matches the image, and its source is not pure Python ({wheel.name} was built for this machine, "
            "not for the image)",
            key=asked(pin),
            mend=mend,
        )
    return wheel


def asked(pin: Pin) -> str:
    """`name==version (required by …)`."""
    return f"{pin} (required by {', '.join(pin.asked_by)})" if pin.asked_by else str(pin)


def _pip(pin: Pin, image: Image, options: list[str], into: Path, stop: Event) -> Path:
    requirement = into / "requirement.txt"
    pinned = " ".join([str(pin), *(f"--hash=sha256:{each}" for each in sorted(pin.hashes))])
    requirement.write_text("\n".join([*indexes.options(image), pinned]), encoding="utf-8")
    shared = ["--no-deps", "--require-hashes", "--no-cache-dir", "--no-input", "--progress-bar=off", "--retries=2"]
    command = [sys.executable, "-m", "pip", *options, *shared, f"--requirement={requirement}"]
    # pip's own temporary files stay on the wheels' disk, and go with `into`.
    environment = {
        **indexes.pips(),
        "TMPDIR": str(into),
        "SOURCE_DATE_EPOCH": DATE,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    for pause in PAUSES:
        if stop.wait(pause):
            raise StoppedError(str(pin))
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        if run.returncode == 0:
            return next(into.glob("*.whl"))
        error = _why(pin, without_logins(run.stdout + run.stderr), building=options[0] == "wheel")
        if not isinstance(error, PassingError):
            break
    raise error


def _why(pin: Pin, said: str, building: bool) -> WheelsError:
    again = "run again: what has arrived is kept"
    if NO_ROOM in said:
        named = DOWNLOADING.findall(said)
        return NoRoomError(" ".join(filter(None, named[-1])) if named else str(pin))
    if any(sign in said for sign in UNREACHABLE):
        return PassingError("the registry cannot be reached", key=asked(pin), mend=again)
    if OTHER_HASH in said:  # of a cut download as well
        return PassingError(
            "the registry's file is not the one in the lock", key=asked(pin), mend=f"{again}, or lock again: UPGRADE=1"
        )
    if building or NO_WHEEL in said:
        return NoWheelError(_last_error(said))
    return PassingError(_last_error(said), key=asked(pin), mend=again)


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed"])[-1][:300]
