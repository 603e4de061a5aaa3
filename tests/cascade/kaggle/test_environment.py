"""What the kernel looks at before it installs, and how an installation ends that cannot be made."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cascade.base import runtime
from cascade.base.errors import ModelError
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.kaggle import checks, environment
from cascade.kaggle.environment import InstallError
from cascade.stages import stages
from cascade.stages.context import RunContext
from tests import kernel_inputs
from tests.processes import wait_until_gone

# Answers for the two fields that are asked for.
NVIDIA_SMI = """#!/bin/sh
case "$1" in
  *driver_version*) echo {driver}; echo {driver};;
  *compute_cap*) for card in {cards}; do echo $card; done;;
esac
"""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An input folder with a wheels dataset for two T4s, and nothing else."""
    packed = tmp_path / "input" / "cascade-wheels"
    (packed / "wheels").mkdir(parents=True)
    (packed / "image.lock").write_text("")
    kernel_inputs.seal(packed, "wheels", gpus=2, cuda="12.8", driver="580.159.04", capability="7.5")
    monkeypatch.setattr(runtime, "INPUT", tmp_path / "input")
    return packed


def failed(tmp_path: Path) -> dict[str, str]:
    """The names of what failed, with what is said."""
    looked_at = checks.check(tmp_path / "config.toml", tmp_path, hashed=True)
    return {check.name: str(check) for check in looked_at if not check.ok}


@pytest.mark.parametrize(
    ("driver", "cards", "name", "told"),
    [
        ("580.159.04", "7.5 7.5", None, ""),
        ("535.10", "8.9 8.9 8.9", None, ""),
        ("525.60.12", "7.5 7.5", "driver", "CUDA 12 requires 525.60.13 or later"),
        ("580.159.04", "7.5", "GPUs", "1 of capability 7.5; required: 2 of 7.5"),
        ("580.159.04", "6.0 6.0", "GPUs", "2 of capability 6.0, 6.0; required: 2 of 7.5"),
    ],
)
def test_driver_and_cards_are_held_against_what_the_wheels_are_for(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, cards: str, name: str, told: str
) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI.format(driver=driver, cards=cards))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    found = {key: said for key, said in failed(tmp_path).items() if key in ("driver", "GPUs")}
    assert list(found) == ([name] if name else [])
    assert told in "".join(found.values())


def test_no_card_no_config_and_a_second_dataset_of_a_kind_are_told(inputs: Path, tmp_path: Path) -> None:
    second = tmp_path / "input" / "other"
    second.mkdir()
    kernel_inputs.seal(second, "wheels")
    found = failed(tmp_path)
    assert "nvidia-smi lists none" in found["GPUs"]
    assert "2 datasets of this kind" in found["wheels"] and "leave one" in found["wheels"]
    assert "config.toml" in found["config"]


def test_too_little_disk_is_told(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(inputs / "wheels" / "big-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("big.py", " " * 3_000_000)
    assert checks.unpacked_size(inputs) == 3_000_000
    assert "disk" not in failed(tmp_path)
    monkeypatch.setattr(checks, "SPARE", 1e18)
    assert "free some, or name another folder by TMPDIR" in failed(tmp_path)["disk"]


def test_an_installation_that_hangs_is_ended_and_leaves_nothing(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(inputs / "wheels" / "uv-1-py3-none-any.whl", "w") as wheel:
        started = f"#!/bin/sh\nsleep 1000 &\necho $$ $! > {tmp_path}/started\nwait\n"
        wheel.writestr("uv-1.data/scripts/uv", started)
    code = tmp_path / "code"
    code.mkdir()
    (code / "ours-1-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setattr(environment, "LIMIT", 0.5)
    with pytest.raises(InstallError, match=r"could not make the environment within 0 s; see .*install\.log"):
        environment.install(inputs, code, tmp_path / "scratch", tmp_path / "install.log", hashed=True)
    assert not (tmp_path / "scratch").exists()
    started = (tmp_path / "started").read_text().split()
    assert len(started) == 2
    wait_until_gone(*map(int, started))


@pytest.mark.parametrize(
    ("said", "told", "mend"),
    [
        (
            "error: Failed to install: a.whl\n  Caused by: No space left on device (os error 28)",
            "the disk is full",
            "TMPDIR",
        ),
        ("error: something new\n  cause: the reason", "something new: the reason", "fix this"),
        ("nothing that is known", "exit code 3", "fix this"),
    ],
)
def test_a_step_that_fails_is_told_by_its_root_cause(
    inputs: Path, tmp_path: Path, said: str, told: str, mend: str
) -> None:
    with zipfile.ZipFile(inputs / "wheels" / "uv-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("uv-1.data/scripts/uv", f"#!/bin/sh\ncat <<'E'\n{said}\nE\nexit 3\n")
    code = tmp_path / "code"
    code.mkdir()
    (code / "ours-1-py3-none-any.whl").write_bytes(b"")
    log = tmp_path / "install.log"
    log.write_text("an earlier error: Hash mismatch for `six==1`\nerror: Hash mismatch for `six==1`\n")
    with pytest.raises(InstallError) as raised:
        environment.install(inputs, code, tmp_path / "scratch", log, hashed=True)
    assert raised.value.what == f"could not make the environment: {told}"
    assert mend in raised.value.mend and raised.value.mend.endswith(f" (see {log})")


def test_what_needs_two_cards_is_skipped_where_one_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it would take minutes, twice, before it ran out of memory."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    path = tmp_path / "config.toml"
    path.write_text(
        'devices = ["cuda:0", "cuda:1"]\n[reason]\nmodel = "m"\nprompt = "p"\nparallel = "tensor"\n'
        + kernel_inputs.CONFIG
    )
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ModelError, match="requires cuda:0, cuda:1, but only cuda:0 exists here; run it on"):
        stages.reason(RunContext(configs.load(path), EEDI.read(folder), run))
