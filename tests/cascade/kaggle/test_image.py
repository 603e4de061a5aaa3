"""A commit run leaves what it saw of its machine, and the scoring rerun leaves nothing."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from cascade.base import runtime
from cascade.competitions.eedi import EEDI
from cascade.kaggle import image, kernel
from cascade.kaggle.kernel import Kernel
from packer.wheels import images, seen
from tests import kernel_inputs

NVIDIA_SMI = """#!/bin/sh
case "$1" in
  *index*) echo 0; echo 1;;
  *name*) echo Tesla T4; echo Tesla T4;;
  *memory.total*) echo 15360; echo 15359;;
  *compute_cap*) echo 7.5; echo 7.5;;
  *driver_version*) echo 580.159.04; echo 580.159.04;;
esac
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel whose wheels are for two T4s, on a machine that has them; no environment can be made."""
    packed = tmp_path / "input" / "cascade-wheels"
    (packed / "wheels").mkdir(parents=True)
    kernel_inputs.seal(packed, "wheels", image="kaggle-t4x2", gpus=2, cuda="12.8", capability="7.5")
    monkeypatch.setattr(runtime, "INPUT", tmp_path / "input")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("KAGGLE_DOCKER_IMAGE", "gcr.io/kaggle-gpu-images/python@sha256:0123")
    (tmp_path / "run").mkdir()
    return Kernel(tmp_path / "config.toml", tmp_path / "data", tmp_path / "run", tmp_path / "notebooks", EEDI)


def test_a_commit_run_leaves_what_the_packer_compares(run: Kernel) -> None:
    kernel.prepare(run)
    path = run.run / image.FILE
    found = seen.read(path, EEDI.slug)
    assert (found.image, found.python) == ("kaggle-t4x2", platform.python_version())
    assert found.abi == f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert (found.gpus, found.card, found.gpu_memory, found.capability) == (2, "Tesla T4", 15359, "7.5")
    assert (found.driver, found.docker_image) == ("580.159.04", "gcr.io/kaggle-gpu-images/python@sha256:0123")
    assert found.cores and found.memory and found.working and found.scratch
    assert "rw" in found.mounts["/"] and found.limits["files"]
    assert set(json.loads(path.read_text())) == {"image", "competition", "at", *seen.KEYS}
    lines = seen.report(images.load("kaggle-t4x2", runtime.ROOT / "wheels"), found)
    assert any("kaggle-t4x2.toml: python was 3.12.13" in line for line in lines)


def test_an_nvidia_smi_that_says_nothing_has_seen_no_number_of_gpus(run: Kernel, tmp_path: Path) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    kernel.prepare(run)
    found = seen.read(run.run / image.FILE, EEDI.slug)
    assert "gpus" not in found.model_fields_set and found.card is None


def test_a_rerun_leaves_none(run: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine is the hidden run's, whose files nobody sees, and its time is the submission's."""
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    kernel.prepare(run)
    assert not (run.run / image.FILE).exists()


def test_a_record_that_cannot_be_written_is_a_failure_of_the_run_and_stops_nothing(run: Kernel) -> None:
    (run.run / image.FILE).mkdir()
    kernel.prepare(run)
    assert any(each.startswith("image.json cannot be written") for each in run.failures)
    assert any("datasets are missing" in each for each in run.failures)
