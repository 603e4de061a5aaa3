"""What is trained on a person's own data goes to a place of its own, and replaces nothing but what training made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from training import lora
from training.__main__ import place


def test_other_data_never_writes_into_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for own in (Path("sample"), ROOT / "sample"):
        assert place(own, None, "adapters/a") == Path("sample/adapters/a")
    assert place(tmp_path, None, "adapters/a") == Path("build/adapters/a")
    assert place(tmp_path, tmp_path / "mine", "adapters/a") == tmp_path / "mine"
    for out in (Path("sample/adapters/a"), ROOT / "sample", Path("build/../sample/x")):
        with pytest.raises(StageError, match=r"belongs to the sample, but .* is other data; pass --out"):
            place(tmp_path, out, "adapters/a")


def test_a_folder_with_a_persons_files_is_no_place_for_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").touch()
    lora.check_out(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StageError, match=r"contains notes\.txt, and it would be replaced"):
        lora.check_out(tmp_path)


def test_make_train_takes_data_and_config() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "train", "DATA=mine", "CONFIG=mine.toml"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    trained = [line for line in lines if "-m training" in line]
    assert [line.split("-m ")[1].strip() for line in trained] == ["training run --config mine.toml --data mine"]
