"""Our own wheel: the same bytes for the same source. The kernel installs it; its first cell imports out of the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from cascade.base.errors import CascadeError

# 1 January 1980, the earliest that a zip file can tell: every file of the wheel gets it.
DATE = "315532800"
PACKAGE = "cascade"  # of the project's, the one that runs in the kernel


class ProjectWheelError(CascadeError):
    """Our own wheel cannot be built; names why."""


def build(root: Path, out: Path) -> Path:
    """The wheel of the project at `root`, built into the new folder `out` without network or isolation."""
    project = _project(root)
    _check_backend(project)
    copy = out / "source"  # building in the checkout would leave files there, and find old ones
    metadata = project["project"]
    for name, path in {**sources(root), **descriptions(root)}.items():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o644)  # it goes into the wheel, so it must not be this machine's
    _run(copy, out)
    shutil.rmtree(copy)
    made = list(out.glob("*.whl"))
    if len(made) != 1 or str(parse_wheel_filename(made[0].name)[1]) != metadata["version"]:
        names = ", ".join(path.name for path in made) or "nothing"
        raise ProjectWheelError(
            f"version {metadata['version']} was built as {names}",
            path=root / "pyproject.toml",
            mend="correct the version",
        )
    return made[0]


def sources(root: Path) -> dict[str, Path]:
    """The files that the wheel is made of, by their places in the project: modules, and the data declared with them."""
    declared = _project(root).get("tool", {}).get("setuptools", {}).get("package-data", {})
    found: dict[str, Path] = {}
    for path in sorted((root / PACKAGE).rglob("*")):
        place = path.relative_to(root)
        patterns = ("*.py", *declared.get(".".join(place.parent.parts), ()))
        named = all(part.isidentifier() for part in place.parent.parts) and not path.name.startswith(".")
        if named and path.name.isidentifier() and path.is_symlink() and path.is_dir():
            raise ProjectWheelError(
                "is a link to a folder", path=path, mend="put the folder itself there, or remove the link"
            )
        if named and path.is_file() and any(fnmatch(path.name, pattern) for pattern in patterns):
            if not path.resolve().is_relative_to(root.resolve()):
                raise ProjectWheelError(
                    "is a link to a place outside the project", path=path, mend="put the file itself there"
                )
            found[place.as_posix()] = path
    return found


def descriptions(root: Path) -> dict[str, Path]:
    """What the wheel's metadata are made of, by their places in the project."""
    metadata = _project(root)["project"]
    return {name: root / name for name in ("pyproject.toml", metadata["readme"], *metadata["license-files"])}


def changed(wheel: Path, root: Path) -> str | None:
    """The first source file, by its place in the project, that a wheel does not hold as it is; None where all are."""
    found = sources(root)
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith(f"{PACKAGE}/")}
        for name in sorted(inside | set(found)):
            if name not in inside or name not in found or archive.read(name) != found[name].read_bytes():
                return name
    return None


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def _check_backend(project: dict[str, Any]) -> None:
    for text in project["build-system"]["requires"]:
        requirement = Requirement(text)
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        if not found or not requirement.specifier.contains(found, prereleases=True):
            has = f"is {found}" if found else "is not installed"
            raise ProjectWheelError(
                f"{requirement.name} {has}, but building the project's wheel requires {text}",
                mend=f"run: {sys.executable} -m pip install '{text}'",
            )


def _run(source: Path, out: Path) -> None:
    from uv import find_uv_bin

    command = [
        find_uv_bin(), "build", "--wheel", "--no-build-isolation", "--offline", "--no-cache", "--no-config",
        "--no-create-gitignore", "--python", sys.executable, "--out-dir", str(out), str(source),
    ]  # fmt: skip
    environment = {**os.environ, "SOURCE_DATE_EPOCH": DATE}
    done = subprocess.run(command, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ProjectWheelError(
            f"the project's wheel cannot be built: {last[0].strip()}", mend="correct the source and pack again"
        )
