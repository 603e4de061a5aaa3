"""An image's lock, made by uv: the whole closure for the image's Python and platform, each package with its hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from cascade import whole
from packer.images import Image, ImageError
from packer.locks import LockError

HEADER = (
    "# Made by `make wheels IMAGE={}` from its .toml and .in and from pyproject.toml: change those.\n# Answers {}\n"
)
LONGEST = 900  # characters of uv's error that are shown


def lock(image: Image, upgrade: bool = False) -> bool:
    """Writes `image.lock`; False where the one that is there still answers what is asked.

    A version that still answers is kept; `upgrade` takes the newest. LockError says what uv said.
    """
    if not upgrade and answers(image):
        return False
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "lock"
        if image.lock.is_file() and not upgrade:
            shutil.copyfile(image.lock, made)  # uv keeps the versions that it finds in its output
        _compile(image, made)
        whole.write_text(image.lock, _header(image) + made.read_text(encoding="utf-8"))
    return True


def answers(image: Image) -> bool:
    """Whether the lock that is there was made for what is asked now."""
    return image.lock.is_file() and image.lock.read_text(encoding="utf-8").startswith(_header(image))


def _header(image: Image) -> str:
    return HEADER.format(image.name, _asked(image))


def _asked(image: Image) -> str:
    """A digest of all that the lock depends on: of pyproject.toml only the requirements."""
    project = _project(image)
    extras = project.get("optional-dependencies", {})
    asked = {
        "requirements": _lines(image.requirements, image),
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
            f"{image.project}: no project's file ({error}); keep {image.path.name} one folder below one"
        ) from error


def _lines(path: Path, image: Image) -> list[str]:
    """A requirements file's lines without comments, and those of the files that it names (`-c`, `-r`)."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}); {image.path} wants its requirements there"
        ) from error
    lines = [
        line for line in (each.partition(" #")[0].strip() for each in text.splitlines()) if line and line[0] != "#"
    ]
    named = [line.split(maxsplit=1)[1] for line in lines if line.startswith(("-c ", "-r "))]
    return [*lines, *(line for name in named for line in _lines(path.parent / name, image))]


def _compile(image: Image, out: Path) -> None:
    folder = image.project.parent
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-python-downloads"]
    command += [image.project.name, str(image.requirements.relative_to(folder)), "--output-file", str(out)]
    command += ["--python-version", image.python_minor, "--python-platform", image.uv_platform]
    command += ["--generate-hashes", "--no-header"]
    command += [part for extra in image.extras for part in ("--extra", extra)]
    if image.exclude_newer:
        command += ["--exclude-newer", _midnight(image.exclude_newer)]
    command += [p for name, day in image.newer.items() for p in ("--exclude-newer-package", f"{name}={_midnight(day)}")]
    run = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True)
    if run.returncode:
        said = " ".join(run.stderr.split()).removeprefix("error: ")
        raise LockError(f"{image.requirements}: uv finds no set of packages: {said[:LONGEST]}; mend the requirements")


def _midnight(day: str) -> str:
    """uv would read a bare day in this machine's time zone."""
    return f"{day}T00:00:00Z"


def _environment() -> dict[str, str]:
    """uv does not read pip's settings: a wheel that pip finds in a folder, such as torch's CPU build, it should too."""
    environment = dict(os.environ)
    if "UV_FIND_LINKS" not in environment:
        command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        asked = environment.get("PIP_FIND_LINKS") or subprocess.run(command, capture_output=True, text=True).stdout
        environment["UV_FIND_LINKS"] = ",".join(asked.split())
    return environment
