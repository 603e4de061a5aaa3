"""How much room is left on the disks that a run writes to, each told once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cascade.run import stage_runner


def test_a_disk_that_two_folders_share_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(stage_runner.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_234_567_890))
    (tmp_path / "run").mkdir()
    assert stage_runner.free_disk(tmp_path / "run") == {str(tmp_path / "run"): 1.2}
    monkeypatch.setenv("TMPDIR", "/proc")
    assert set(stage_runner.free_disk(tmp_path / "run")) == {str(tmp_path / "run"), "/proc"}
    assert set(stage_runner.free_disk(tmp_path / "gone")) == {"/proc"}


def test_a_disk_that_is_nearly_full_is_told() -> None:
    assert stage_runner.low_disk({"/kaggle/working": 0.6, "/tmp": 1.0}) == ["only 0.6 GB are free in /kaggle/working"]


def test_folders_that_are_gone_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert stage_runner.free_disk(tmp_path / "gone") == {}
