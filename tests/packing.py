"""A project as small as it can be packed: this one's code, notebooks and configs, and an image of two wheels."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from cascade.base.runtime import ROOT

IMAGE = "tiny"
FACTS = """python = "3.12.13"
abi = "cp312"
machine = "x86_64"
glibc = "2.35"
gpus = 2
capability = "7.5"
cuda = "12.8"
driver = "580.159.04"
extras = ["models"]
seen = "nowhere"
"""
WHEELS = {"one": "one-1.0-py3-none-any.whl", "two": "two-2.0-cp312-cp312-manylinux_2_31_x86_64.whl"}


def make_project(folder: Path) -> Path:
    """Copies what is packed into `folder`; sources and models as they are, so that configs find them."""
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("cascade", "notebooks", "configs", "sample/models", "sample/adapters"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE", "dataset-metadata.json"):
        shutil.copy(ROOT / name, folder / name)
    wheels = folder / "wheels" / IMAGE
    wheels.mkdir(parents=True)
    wheels.with_suffix(".toml").write_text(FACTS)
    wheels.with_suffix(".in").write_text("vllm==0.19.1\n")
    shutil.copy(ROOT / "wheels" / "vllm-0.19.1.json", folder / "wheels")
    for file in WHEELS.values():
        (wheels / file).write_bytes(file.encode() * 1000)
    lock_files(folder, {name: wheels / file for name, file in WHEELS.items()})
    return folder


def lock_files(project: Path, wheels: dict[str, Path]) -> None:
    """Locks the wheels of these packages as they are."""
    lines = []
    for name, path in wheels.items():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{name}=={path.name.split('-')[1]} \\\n    --hash=sha256:{digest}\n")
    (project / "wheels" / f"{IMAGE}.lock").write_text("".join(lines))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
