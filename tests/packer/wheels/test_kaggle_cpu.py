"""The image without a GPU: what its lock has is enough for its config, and there is no torch in it."""

from __future__ import annotations

import subprocess
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cascade.base.runtime import ROOT
from cascade.processes.environ import clean
from packer.wheels import images, locks
from sample.generate.competitions import GENERATORS

IMAGE = images.load("kaggle-cpu", ROOT / "wheels")


def environment(folder: Path) -> Path:
    """An environment of the lock's packages as they are installed here, and of cascade; returns its Python."""
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name in locks.read(IMAGE.lock):
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:  # what the kernel needs beside the stages: uv, wrapt
            continue
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    (packages / "cascade").symlink_to(ROOT / "cascade")
    return folder / "bin" / "python"


def test_its_config_runs_where_nothing_but_its_lock_is_installed(tmp_path: Path) -> None:
    python = environment(tmp_path / "environment")
    missing = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, env=clean())
    assert "No module named 'torch'" in missing.stderr
    data = tmp_path / "data"
    GENERATORS["eedi"](data, 1, 30, 5)
    command = [python, "-m", "cascade", "run", "--config", "configs/cpu.toml", "--data", data]
    command += ["--out", tmp_path / "run"]
    done = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submission.csv is valid" in done.stdout
