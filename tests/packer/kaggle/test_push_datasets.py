"""What `make pack` left is what goes to Kaggle's datasets, as the command pushes it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.config.schema import load
from packer.datasets.rules import DatasetError
from packer.kaggle.datasets import staged
from packer.wheels import images
from tests.pushing import make_packed


def test_the_command_pushes_what_pack_left_in_order_and_prints_a_table(server, store, tmp_path):
    project = make_packed(tmp_path)
    store.polls = 0
    for state in ("created", "unchanged"):
        done = push_datasets(server, project)
        assert done.returncode == 0, done.stderr
        rows = [line for line in done.stdout.splitlines() if state in line]
        assert ["wheels" in row for row in rows] == [True, False, False]
        assert ["code" in row for row in rows] == [False, False, True]
    assert sorted(store.held) == [f"ada/cascade-kernel-{kind}" for kind in ("adapters", "code", "wheels-t4")]


def push_datasets(server, folder):
    variables = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment = {**variables, **server.variables(), "HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "150"}
    command = [sys.executable, "-P", "-m", "packer", "push-datasets", "--config", "configs/t.toml", "--image", "t4"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            "configs/t.toml",
            r"-code: configs/t\.toml has changed since it was staged; run: make pack CONFIG=configs/t\.toml",
        ),
        ("configs/prompts/pointwise.txt", r"pointwise\.txt has changed since it was staged"),
        ("wheels/t4.lock", r"-wheels-t4: wheels/t4\.lock has changed since it was staged"),
    ],
)
def test_what_has_changed_since_it_was_staged_is_not_pushed(monkeypatch, tmp_path, changed, said):
    monkeypatch.chdir(make_packed(tmp_path))
    config, image = load(Path("configs/t.toml")), images.load("t4")
    assert [folder.name for folder, _ in staged(config, image)][-1] == "cascade-kernel-code"
    with Path(changed).open("a") as file:
        file.write("\n# another line\n")
    with pytest.raises(DatasetError, match=said):
        staged(load(Path("configs/t.toml")), image)


def test_what_was_packed_for_another_config_is_not_pushed(monkeypatch, tmp_path):
    monkeypatch.chdir(make_packed(tmp_path))
    shutil.copy("configs/t.toml", "configs/other.toml")
    with pytest.raises(DatasetError, match=r"is staged for configs/t\.toml; run: make pack CONFIG=configs/other\.toml"):
        staged(load(Path("configs/other.toml")), images.load("t4"))
