"""A toy project with a small target image, whose three packages come from the real registry."""

from __future__ import annotations

import shutil
from pathlib import Path

from cascade.base.runtime import ROOT
from packer.wheels import images
from packer.wheels.images import Image

IMAGES = ROOT / "tests" / "images"


def project(folder: Path) -> Image:
    """A copy of the toy project in `folder`; its image."""
    shutil.copytree(IMAGES, folder, dirs_exist_ok=True)
    return images.load("small", folder / "wheels")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
