"""The budget: how time is shared out among stages, what is dropped for it, and what it never does: cost a stage."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.base import ledger, patience
from cascade.base.errors import ConfigError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.plan import allotment, profile
from cascade.plan import profile as profiles
from cascade.plan.allotment import StageEstimate, allot
from cascade.plan.forecast import Forecast, Stage, forecast
from cascade.plan.workload import Planner
from cascade.run import budget
from cascade.run.budget import Budget
from cascade.stages import resume
from cascade.stages.context import RunContext

CONFIG = ROOT / "configs" / "tiny-llm.toml"
ENSEMBLE = StageEstimate("ensemble", 10)
RETRIEVAL = StageEstimate("retrieve-r1", 50)
A, B, C = (StageEstimate(f"rerank-{name}", 20, work) for name, work in (("a", 100), ("b", 200), ("c", 300)))
RUN = [RETRIEVAL, A, B, C, ENSEMBLE]  # 720 seconds


def shares(needs: list[StageEstimate], left: float, took: dict[str, float]) -> dict[str, float]:
    """What each stage is given where each takes all of it, or what `took` says."""
    given = {}
    for place, need in enumerate(needs):
        given[need.name] = allot(needs[place:], left).seconds
        left -= min(given[need.name], took.get(need.name, need.seconds))
    return given


def test_a_stage_has_what_those_after_it_do_not_want() -> None:
    assert allot(RUN[1:], 700) == allotment.Allotment(700 - 220 - 320 - 10)
    assert allot([ENSEMBLE], 35).seconds == 35


def test_a_stage_ahead_of_the_plan_hands_its_time_on() -> None:
    planned = shares(RUN[1:], 700, {})
    ahead = shares(RUN[1:], 700, {A.name: 60})
    assert ahead[A.name] == planned[A.name]
    assert ahead[B.name] == planned[B.name] + 60


def test_where_the_time_is_short_every_stage_does_the_same_part_of_its_work() -> None:
    given = shares(RUN[1:], 370, {})
    assert {name: given[name] for name in (A.name, B.name, C.name)} == {A.name: 70, B.name: 120, C.name: 170}
    assert given["ensemble"] == ENSEMBLE.seconds
    assert (
        allot(RUN[1:], 370).why == "gets 70 of the 120 s it needs, as the stages to come need 670 s and 370 s are left"
    )


def test_a_stage_that_hangs_takes_its_own_share_and_no_more() -> None:
    forever = shares(RUN[1:], 370, {A.name: 10_000})
    assert forever[B.name] == 120 and forever[C.name] == 170 and forever["ensemble"] == 10


def test_optional_stages_are_dropped_in_the_configs_order_and_no_more_than_need_be() -> None:
    optional = [B.name, A.name]
    assert not allot(RUN[1:], 670, optional).dropped
    assert not allot(RUN[1:], 450, optional).dropped, "without b it fits"
    assert allot(RUN[1:], 450, optional).seconds == 120, "of what b leaves, c has its own"
    dropped = allot(RUN[2:], 450, optional)
    assert dropped.dropped and dropped.seconds == 0
    assert dropped.why == "dropped, as it is optional: the stages to come need 550 s and 450 s are left"
    assert allot(RUN[1:], 400, optional).dropped, "without b it does not fit"


def test_a_retrieval_and_the_ensemble_are_never_dropped() -> None:
    for left in (30.0, 5.0):
        assert allot(RUN, left, [C.name, B.name, A.name]).seconds == left - 10
        assert allot([ENSEMBLE], left).seconds == left


def test_the_last_are_left_out_where_loading_every_model_would_leave_no_time_to_score() -> None:
    """100 s for three stages that load for 60: the first alone has all that the ensemble does not need."""
    found = allot(RUN[1:], 100)
    assert found.seconds == pytest.approx(90)
    assert allot(RUN[2:], 100 - 90).seconds == 0


def test_a_stage_that_would_not_get_to_score_is_not_begun() -> None:
    found = allot([C, ENSEMBLE], 29)
    assert found == allotment.Allotment(0.0, "not begun: it needs 20 s before its first score, and 19 s are left")
    assert allot([C, ENSEMBLE], 31).seconds == pytest.approx(21)


def test_a_slow_retrieval_is_paid_for_by_others_and_one_that_hangs_does_not_have_all() -> None:
    """Others keep a quarter of their work, unless the retrieval would not have several times what it is to take."""
    assert allot(RUN, 720).seconds == 720 - 10 - 3 * 20 - 600 * allotment.WORTH
    assert allot(RUN, 300).seconds == allotment.LATE * RETRIEVAL.seconds
    assert allot(RUN, 80).seconds == 80 - 10
    assert allot(RUN, 350, [C.name]).seconds == 350 - (10 + 2 * 20 + 300 * allotment.WORTH), (
        "c is dropped, and keeps none"
    )


def test_a_stage_without_a_rate_has_what_the_known_ones_leave() -> None:
    unknown = StageEstimate("rerank-x", 20, known=False)
    found = allot([unknown, A, ENSEMBLE], 1000)
    assert found.seconds == 1000 - 120 - 10
    assert found.why == "no rate is known for it, and the stages after it need 130 of 1000 s"
    before = allot([A, unknown, ENSEMBLE], 1000)
    assert before.seconds == 120 + (1000 - 120 - 20 - 10) / 2, "what is to spare is shared with it"
    short = allot([unknown, A, ENSEMBLE], 120)
    assert short.seconds == 20 + 100 * (120 - 20 - 20 - 10) / 200, "where it is short it counts as a typical one"
    assert short.why == "gets 55 of the 120 s it needs, as the stages to come need 150 s and 120 s are left"
    typical = allot([unknown, A, B, ENSEMBLE], 300).seconds  # 150, the mean of the others' work
    assert typical == pytest.approx(20 + 150 * (300 - 70) / 450)
    assert allot([unknown, ENSEMBLE], 50).seconds == 40


def test_what_is_left_to_the_second_is_a_whole_share_with_nothing_to_say_of_it() -> None:
    assert allot(RUN[1:], 670) == allotment.Allotment(120)
    assert allot(RUN[1:], 200, [B.name, C.name]) == allotment.Allotment(200 - 10), (
        "both are dropped, not the last alone"
    )


def test_a_quarter_of_the_work_is_worth_loading_for() -> None:
    """20 + 20 + 20 + 10 s before any score, and a quarter of 600; a second less, and c is left out: 169 of 300."""
    assert allot(RUN[1:], 220).seconds == 20 + 25
    assert allot(RUN[1:], 219).seconds == pytest.approx(20 + 100 * 169 / 300)


def test_what_a_stage_that_is_left_out_leaves_gives_no_one_more_than_it_needs() -> None:
    """Without z, 170 s are left for the 100 of a's work."""
    assert allot([A, StageEstimate("rerank-z", 300, 300), ENSEMBLE], 200).seconds == 120


def test_stages_without_a_rate_share_what_is_to_spare_and_one_that_would_not_score_is_not_begun() -> None:
    one, two = (StageEstimate(f"rerank-{name}", 20, known=False) for name in "xy")
    assert allot([one, two, ENSEMBLE], 1000).seconds == 20 + (1000 - 50) / 2
    assert allot([one, ENSEMBLE], 25).why == "not begun: it needs 20 s before its first score, and 15 s are left"


@pytest.mark.parametrize(("whole", "reserve"), [(3600, 20), (360, 20), (100, 7), (0, 2), (-50, 2)])
def test_the_reserve_is_a_part_of_a_short_run_and_twenty_seconds_of_a_long_one(whole: float, reserve: float) -> None:
    stages = [SimpleNamespace(name="reason", stage="reason"), SimpleNamespace(name="p", stage="rerank-p")]
    config = SimpleNamespace(time=SimpleNamespace(optional=["reason", "p"]), stages=lambda: stages)
    context: Any = SimpleNamespace(config=config)
    made = Budget(context, {}, 1000.0, 1000.0 + whole)
    assert made.end == pytest.approx(1000 + whole - reserve)
    assert made.optional == ["reason", "rerank-p"]


# By the plan, with what a ledger shows.


@pytest.fixture(scope="module")
def planned() -> Forecast:
    config = configs.load(CONFIG)
    known = profiles.load(profile.default_profile(config))
    return forecast(config, known, Planner(config, EEDI.read(ROOT / "sample"), known).stages(config, known))


def make_budget(run: Path, left: float, extra: str = "") -> Budget:
    """Of the config without its optional stages, with `extra` in its [time]."""
    text = CONFIG.read_text().replace('"../', f'"{ROOT}/').replace('"prompts/', f'"{ROOT}/configs/prompts/')
    text = re.sub(r"^optional = .*$", extra, text, flags=re.MULTILINE)
    path = run / "config.toml"
    path.write_text(text)
    context = RunContext(configs.load(path), EEDI.read(ROOT / "sample"), run)
    identity = resume.identity(context)
    resume.write(run, identity)
    return Budget(context, identity, time.time(), time.time() + left)


def names(planned: Forecast, first: str) -> list[str]:
    found = [stage.name for stage in planned.stages]
    return found[found.index(first) :]


def record_stage(run: Path, stage: Stage, start: float, times: float) -> float:
    """A ledger's lines of a chunked stage that took so many times its forecast; returns when it ended."""
    work = next(part for part in stage.parts if part.work.kind != "notebook")
    beside = times * (stage.seconds - work.seconds)
    loaded = start + beside + times * work.load
    each = times * (work.seconds - work.load) / 20
    chunks = [
        {"start": loaded + place * each, "end": loaded + (place + 1) * each, "queries": 12,
         "prompts": work.work.prompts / 20, "tokens": work.work.tokens / 20, "cached_tokens": work.work.cached / 20,
         "written_tokens": work.work.written / 20}
        for place in range(20)
    ]  # fmt: skip
    end = loaded + 20 * each
    ledger.record(run, stage.name, "load", start + beside, loaded)
    ledger.record(run, stage.name, "score", loaded, end, queries=240, chunks=chunks)
    ledger.record(run, stage.name, ledger.STAGE, start, end, status=ledger.OK)
    return end


def last_decision(run: Path) -> dict:
    return [entry for entry in ledger.read(run) if entry["phase"] == ledger.BUDGET][-1]


def test_a_first_stage_is_shared_out_by_the_profiles_rates(tmp_path: Path, planned: Forecast) -> None:
    made = make_budget(tmp_path, 3600)
    found = made.share(names(planned, "reason"))
    entry = last_decision(tmp_path)
    by_name = {stage.name: stage.seconds for stage in planned.stages}
    assert entry["expected"] == pytest.approx(by_name["reason"], abs=0.1)
    assert entry["later"] == pytest.approx(sum(by_name[name] for name in names(planned, "retrieve-r1")), abs=0.1)
    assert found.seconds == pytest.approx(3600 - budget.RESERVE - entry["later"], abs=5)
    assert "decision" not in entry


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_what_the_runs_own_ledger_shows_stands_over_the_profile(
    tmp_path: Path, planned: Forecast, times: float
) -> None:
    """The reasoning stage's model is that of three later ones: they are expected to be off as it was."""
    by_name = {stage.name: stage for stage in planned.stages}
    record_stage(tmp_path, by_name["reason"], time.time() - 500, times)
    made = make_budget(tmp_path, 3600)
    made.share(names(planned, "rerank-list"))
    assert last_decision(tmp_path)["expected"] == pytest.approx(times * by_name["rerank-list"].seconds, rel=0.1)
    made.share(names(planned, "rerank-ce"))
    stage = by_name["rerank-ce"]
    notebook = stage.parts[0].seconds
    expected = stage.seconds + (times - 1) * notebook
    assert last_decision(tmp_path)["expected"] == pytest.approx(expected, abs=0.2), "nothing is known of its model"


def test_every_decision_is_in_the_ledger_with_its_reason_and_said(
    tmp_path: Path, planned: Forecast, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_budget(tmp_path, 60, extra='optional = ["reason", "final", "list", "point"]')
    assert made.share(names(planned, "reason")).dropped
    entry = last_decision(tmp_path)
    assert entry["stage"] == "reason" and entry["given"] == 0
    assert entry["decision"].startswith("dropped, as it is optional: ")
    assert f"budget: reason: {entry['decision']}" in capsys.readouterr().out


def test_where_no_time_is_left_what_is_optional_is_dropped_and_the_rest_goes_without_a_share(
    tmp_path: Path, planned: Forecast
) -> None:
    made = make_budget(tmp_path, 0, extra='optional = ["point"]')
    assert made.share(names(planned, "rerank-point")).dropped
    assert last_decision(tmp_path)["decision"] == "dropped, as it is optional: no time is left"
    assert not made.share(names(planned, "rerank-ce")).dropped
    assert last_decision(tmp_path)["stage"] == "rerank-point"


def test_the_pictures_of_a_stage_come_out_of_its_own_share(tmp_path: Path, planned: Forecast) -> None:
    found = make_budget(tmp_path, 3600).share(names(planned, "rerank-ce"))
    stage = next(stage for stage in planned.stages if stage.name == "rerank-ce")
    notebook = next(part.seconds for part in stage.parts if part.work.kind == "notebook")
    assert 0.5 * notebook < found.tail < notebook


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ('profile = "no-such.toml"', "PlanError: .*no-such.toml: no such profile"),
        (f'profile = "{ROOT}/LICENSE"', "PlanError: .*not TOML"),
    ],
)
def test_without_a_plan_a_stage_has_all_that_is_left_and_the_next_is_planned_anew(
    tmp_path: Path, planned: Forecast, capsys: pytest.CaptureFixture[str], extra: str, why: str
) -> None:
    made = make_budget(tmp_path, 600, extra=extra)
    for first in ("reason", "rerank-ce"):
        found = made.share(names(planned, first))
        assert not found.dropped and found.seconds == pytest.approx(600 - budget.RESERVE, abs=5)
    said = capsys.readouterr().out
    assert said.count("no plan, so this stage gets all the time that is left") == 2
    decisions = [entry for entry in ledger.read(tmp_path) if entry["phase"] == ledger.BUDGET]
    assert all(re.search(why, each["decision"]) for each in decisions) and len(decisions) == 2


def test_an_error_of_planning_costs_one_share_and_is_logged(
    tmp_path: Path, planned: Forecast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, real = make_budget(tmp_path, 60), budget.Budget._needs
    with monkeypatch.context() as context:
        context.setattr(budget.Budget, "_needs", lambda *_: {}["torn"])
        assert made.share(names(planned, "reason")).seconds > 30
    assert budget.Budget._needs is real and "Traceback" in caplog.text and "KeyError: 'torn'" in caplog.text
    made.share(names(planned, "rerank-ce"))
    assert "expected" in last_decision(tmp_path)


def test_a_plan_that_hangs_is_left_to_itself() -> None:
    with pytest.raises(TimeoutError, match="no answer within"):
        patience.within(0.05, lambda: time.sleep(2))
    with pytest.raises(ZeroDivisionError):
        patience.within(5, lambda: 1 // 0)


@pytest.mark.parametrize(
    ("optional", "message"),
    [
        ("rerank-ce", r"time.optional: 'rerank-ce' is neither a pipeline nor 'reason'"),
        ("pont", "did you mean 'point'"),
        ("r1", "list only these"),
        ("ensemble", "list only these"),
    ],
)
def test_only_pipelines_and_the_reasoning_stage_are_optional(tmp_path: Path, optional: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_budget(tmp_path, 600, extra=f'optional = ["{optional}"]')
