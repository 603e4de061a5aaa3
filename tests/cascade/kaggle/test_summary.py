"""A run's last page: what its ledger says each stage took, and the whole test planned by that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.kaggle import summary
from cascade.kaggle.kernel import Kernel
from cascade.plan import report
from tests.cascade.plan.test_plan_calibration import Maker, by_name, plan

LEDGER = [
    # stage, phase, start, end, facts
    ("zero", "stage", 0, 2, {"status": "ok", "queries": 50}),
    ("retrieve-r1", "retrieve", 12, 112, {"queries": 50, "embedded": [{"texts": 950, "load": 60.0, "seconds": 30.0}]}),
    ("retrieve-r1", "stage", 2, 112, {"status": "ok", "peak_memory_mb": 4200.0}),
    ("rerank-p1", "load", 120, 300, {}),
    ("rerank-p1", "score", 300, 400, {"queries": 25, "prompts": 100, "tokens": 42_000}),
    ("rerank-p1", "stage", 112, 410, {"status": "ok", "peak_memory_mb": 9000.0, "peak_gpu_memory_mb": 14336.0}),
    ("rerank-p2", "stage", 410, 500, {"status": "deadline: stopped after 3 of 50 queries"}),
]


def test_the_table_tells_work_from_loading_and_start(tmp_path: Path) -> None:
    for stage, phase, start, end, facts in LEDGER:
        ledger.record(tmp_path, stage, phase, start, end, **facts)
    table = summary.table(tmp_path)
    assert table["of it working"].tolist()[:4] == [0.0, 40.0, 100.0, 0.0]
    assert table.loc["rerank-p1", "tokens a second"] == 420
    assert table.loc["rerank-p1", "of a GPU (GiB)"] == 14.0
    assert table.loc[summary.TOTAL, "seconds"] == pytest.approx(500)


def test_an_empty_ledger_makes_an_empty_table(tmp_path: Path) -> None:
    assert summary.table(tmp_path).empty


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel whose run is over; it practised nothing, so the run's folder has the ledger."""
    Maker(tmp_path / "run").write()
    return Kernel(
        tmp_path / "run" / "plan.toml", ROOT / "sample", tmp_path / "run", ROOT, EEDI, python=Path(sys.executable)
    )


def test_the_whole_test_is_planned_by_the_runs_own_rates(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    maker = Maker(kernel.run)
    maker.write()
    known = maker.calibrate()
    summary.plan(kernel)
    said = capfd.readouterr().out
    planned = by_name(plan(maker.config, maker.task, known, 2055))
    for stage, seconds in planned.items():
        assert report.span(seconds) in next(line for line in said.splitlines() if f" {stage} " in line), said
    assert "fits: " in said
    assert {"profile.toml", "plan.png"} <= {path.name for path in kernel.run.iterdir()}


def test_a_plan_that_cannot_be_made_is_said_and_no_failure(
    kernel: Kernel, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel.run / ledger.FILE).write_text("")
    summary.plan(kernel)
    assert "no stage is complete" in capfd.readouterr().out
    monkeypatch.setattr(summary, "LIMIT", 0.01)
    summary.plan(kernel)
    assert capfd.readouterr().out == "no plan within 0 s\n"
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    summary.plan(kernel)
    assert not capfd.readouterr().out
