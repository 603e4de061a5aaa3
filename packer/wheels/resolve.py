"""An image's lock, made by uv: the whole closure for the image's Python and platform, each package with its hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from cascade.base import atomic
from packer.wheels import indexes, requirements
from packer.wheels.images import Image, ImageError
from packer.wheels.locks import LockError

HEADER = (
    "# Made by `make wheels IMAGE={}` from its .toml and .in and from pyproject.toml: change those.\n# Answers {}\n"
)
LONGEST = 900  # characters of uv's error that are shown


def lock(image: Image, upgrade: bool = False) -> bool:
    """Writes `image.lock`; False where the one that is there still answers what is asked.

    A version that still answers is kept; `upgrade` takes the newest. LockError says what uv said.
    """
    header = _header(image)  # what cannot be read stops here
    if not upgrade and answers(image):
        return False
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "lock"
        if image.lock.is_file() and not upgrade:
            shutil.copyfile(image.lock, made)  # uv keeps the versions that it finds in its output
        _compile(image, made)
        atomic.write_text(image.lock, header + made.read_text(encoding="utf-8"))
    return True


def answers(image: Image) -> bool:
    """Whether the lock that is there was made for what is asked now."""
    return image.lock.is_file() and image.lock.read_text(encoding="utf-8").startswith(_header(image))


def _header(image: Image) -> str:
    return HEADER.format(image.lock.stem, _asked(image))


def _asked(image: Image) -> str:
    """A digest of all that the lock depends on: of pyproject.toml only the requirements."""
    project = _project(image)
    extras = project.get("optional-dependencies", {})
    asked = {
        "requirements": [line.text for line in requirements.read(image.requirements)],
        "project": [
            *project.get("dependencies", []),
            *(each for name in image.extras for each in extras.get(name, [])),
        ],
        "for": [image.python_minor, image.uv_platform],
        "before": [image.exclude_newer, sorted(image.newer.items())],
    }
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _project(image: Image) -> dict[str, Any]:
    try:
        found: dict[str, Any] = tomllib.loads(image.project.read_text(encoding="utf-8"))["project"]
        return found
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ImageError(
            f"not a project's file ({error})",
            path=image.project,
            mend=f"put {image.path.name} one folder below such a file",
        ) from error


def _compile(image: Image, out: Path) -> None:
    folder = image.project.parent
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-python-downloads"]
    command += [image.project.name, str(image.requirements.relative_to(folder)), "--output-file", str(out)]
    command += ["--python-version", image.python_minor, "--python-platform", image.uv_platform]
    command += ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    command += [part for extra in image.extras for part in ("--extra", extra)]
    if image.exclude_newer:
        command += ["--exclude-newer", _midnight(image.exclude_newer)]
    command += [p for name, day in image.newer.items() for p in ("--exclude-newer-package", f"{name}={_midnight(day)}")]
    run = subprocess.run(command, cwd=folder, env=indexes.uvs(image), capture_output=True, text=True)
    if run.returncode:
        said = requirements.without_logins(" ".join(run.stderr.split()).removeprefix("error: "))
        fix = "correct the requirements"
        if "not found in" in said:
            fix += f", or {indexes.mend(image)}"
        if "was filtered by `exclude-newer" in said:
            fix += f"; where an index gives no dates, write newer = {{ NAME = 'any' }} in {image.path}"
        raise LockError(
            f"uv finds no set of packages that works together: {said[:LONGEST]}", path=image.requirements, mend=fix
        )


def _midnight(day: str) -> str:
    """uv would read a bare day in this machine's time zone."""
    return f"{day}T00:00:00Z" if day != "any" else "false"
