"""What stands for the image: a Python of its version, with the packages that submission.ipynb needs of it.

Kaggle's own has hundreds more; none of them may be needed, so none of them is here. They come from the same wheels as
the kernel's environment, offline, though Kaggle's versions differ from those.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packer.rehearsal.sandbox import RehearsalError
from packer.wheels.images import Image

PLACE = "/opt/image"  # in the room
# What papermill runs a notebook with, and what submission.ipynb imports before and beside the environment.
PACKAGES = ("papermill", "ipykernel", "pandas", "scikit-learn", "matplotlib", "psutil", "pyarrow", "latex2mathml")
FACTS = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('stdlib'), *sys.path[1:], sep='\\n')"


@dataclass(frozen=True)
class ImagePython:
    """`shown`: the folders it consists of, by their place in the room. `library`: its standard library's."""

    shown: dict[str, Path]
    library: Path


def make(image: Image, folder: Path) -> ImagePython:
    """Makes it in `folder`. RehearsalError where this machine has no such Python, or the wheels are not all there."""
    own = ".".join(map(str, sys.version_info[:2])) == image.python_minor
    python = folder / "bin" / "python"
    _uv(
        ["venv", "--clear", "--no-project", "--python", sys.executable if own else image.python_minor, str(folder)],
        f"{image.path}: Python {image.python_minor} is not installed; install it, or rehearse another image",
    )
    _uv(
        ["pip", "install", "--python", str(python), "--no-index", "--find-links", str(image.wheels),
         "--compile-bytecode", *PACKAGES],
        f"{image.wheels}: lacks wheels that the rehearsal installs; run: make wheels IMAGE={image.name}",
    )  # fmt: skip
    done = subprocess.run([python, "-I", "-c", FACTS], check=True, capture_output=True, text=True)
    base, library, *path = map(Path, done.stdout.splitlines())
    outside = {each for each in path if each.is_dir() and not each.is_relative_to(folder.resolve())}
    shown = {str(each): each for each in [base, *sorted(outside)]}
    return ImagePython({PLACE: folder.resolve(), **shown}, library)


def _uv(arguments: list[str], otherwise: str) -> None:
    from uv import find_uv_bin

    command = [find_uv_bin(), "--offline", "--no-config", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        what, _, mend = otherwise.partition("; ")
        raise RehearsalError(f"{what} (uv: {' '.join(done.stderr.split())[-300:]})", mend=mend)
