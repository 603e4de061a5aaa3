"""Every command that leads to the kernel is about the same run, so that what was proved is what is pushed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cascade.base.errors import ConfigError
from cascade.base.runtime import ROOT
from packer.__main__ import app
from tests.wheelmaker import CARDS, make_image

COMMANDS = ("verify", "adapters", "pack", "push-datasets", "push-kernel")


def made(*words: str, **environment: str) -> str:
    """What make would run."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "CONFIG"))}
    variables = {**outside, **environment}
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_make_hands_on_a_config_however_it_is_given_and_none_otherwise(command: str) -> None:
    given = "--config configs/tiny-llm.toml --image kaggle-t4x2"
    assert f"packer {command} {given}" in made(command, "CONFIG=configs/tiny-llm.toml")
    assert f"packer {command} {given}" in made(command, CONFIG="configs/tiny-llm.toml")
    assert "--config" not in made(command)


def test_fetch_is_handed_on() -> None:
    assert "--fetch-models" in made("verify", "FETCH=1")
    assert "--fetch-models" not in made("verify")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("facts", "config"), [(CARDS, "t4x2.toml"), ("", "sample.toml")])
def test_without_one_the_image_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, facts: str, config: str
) -> None:
    """The folder has no configs: the error names the one that was looked for."""
    make_image(tmp_path, [], facts=facts)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [command, "--image", "tiny"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith(f"configs/{config}: ")
