"""The staging part of `python -m tests.bench`: datasets are hard links, read once to be hashed.

On 4 GB in 8 files instead of a T4's 5 GB of wheels: both sides read the same, and what counts is their ratio.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from cascade.base import manifest
from cascade.config import schema as configs
from packer.datasets import staging
from packer.wheels import images
from tests.packing import IMAGE, lock_files, make_project

FILES, BLOCK, BLOCKS = 8, 1 << 26, 8  # 512 MiB a file
ROUNDS = 2


def staging_figures(folder: Path) -> Iterator[tuple[str, float, str]]:
    """Seconds of the fastest of some rounds by turns, so that both read from the page cache."""
    project = make_project(folder / "project")
    wheels = project / "wheels" / IMAGE
    shutil.rmtree(wheels)
    wheels.mkdir()
    block = os.urandom(BLOCK)
    files = {f"big{number}": wheels / f"big{number}-1.0-py3-none-any.whl" for number in range(FILES)}
    for path in files.values():
        with path.open("wb") as file:
            for _ in range(BLOCKS):
                file.write(os.urandom(16) + block[16:])
    lock_files(project, files)
    staged, summed = [], []
    with chdir(project):
        config, image = configs.load(Path("configs/sample.toml")), images.load(IMAGE)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            staged_folder = staging.stage("wheels", config, image)
            staged.append(time.perf_counter() - start)
            start = time.perf_counter()
            subprocess.run(["sha256sum", *map(str, files.values())], check=True, stdout=subprocess.DEVNULL)
            summed.append(time.perf_counter() - start)
        copied = sum(
            (staged_folder / "wheels" / path.name).stat().st_ino != path.stat().st_ino for path in files.values()
        )
        size = manifest.read(staged_folder).size
    shutil.rmtree(project)
    yield "staging_size", size / 1e9, "GB"
    yield "staging", min(staged), "s"
    yield "staging_to_sha256sum", min(staged) / min(summed), "ratio"
    yield "staging_copied", copied, "files"
