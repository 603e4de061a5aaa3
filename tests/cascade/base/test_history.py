"""What is read of a run's ledger: each stage's last attempt, whatever else has got between the lines."""

from __future__ import annotations

from pathlib import Path

from cascade.base import history, ledger
from cascade.run import outcome
from cascade.run.outcome import Result
from cascade.stages.schedule import Stage
from tests import pages

CE = "rerank-ce"


def test_a_stage_that_runs_again_is_told_by_its_last_attempt(tmp_path: Path) -> None:
    pages.write_ledger(tmp_path)
    first = history.read(tmp_path)[CE]
    assert first.failure == "exit code 1: <no memory>" and (first.start, first.end) == (
        pages.BEGAN + 22,
        pages.BEGAN + 90,
    )
    ledger.record(tmp_path, CE, "load", pages.BEGAN + 200, pages.BEGAN + 210)
    ledger.record(tmp_path, CE, "score", pages.BEGAN + 210, pages.BEGAN + 220, queries=9, warnings=["slow"])
    again = history.read(tmp_path)[CE]
    assert (again.whole, again.failure, again.warnings) == (None, None, ["slow"])
    assert [phase["phase"] for phase in again.phases] == ["load", "score"] and again.work["queries"] == 9


def test_why_queries_were_left_out_is_what_the_last_attempt_decided(folder: Path) -> None:
    """The attempt before stopped at the deadline, and this one at two that failed."""
    context = pages.small(folder)
    ledger.record(context.run, CE, "load", pages.BEGAN + 200, pages.BEGAN + 210)
    ledger.record(context.run, CE, "score", pages.BEGAN + 210, pages.BEGAN + 220, decision="4 queries failed")
    result = Result(Stage(CE, "ce", "rerank.ipynb", context.config.table_path("ce", context.run)))
    outcome.judge(context, result, set(context.task.queries["query_id"]))
    assert result.used and result.failure == "4 queries failed (5 of 9 queries)"


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    lines = ["5", "null", '{"stage": "zero"}', '{"stage": "zero", "phase": "stage", "start": "now", "end": 1}', '{"sta']
    (tmp_path / ledger.FILE).write_text("\n".join(lines), encoding="utf-8")
    assert history.read(tmp_path) == {}
    (tmp_path / ledger.FILE).write_text("\n".join([*lines, ""]), encoding="utf-8")
    pages.write_ledger(tmp_path)
    assert list(history.read(tmp_path)) == ["zero", "retrieve-r1", CE, "ensemble"]
    ledger.forget(tmp_path, CE)
    assert list(history.read(tmp_path)) == ["zero", "retrieve-r1", "ensemble"]
