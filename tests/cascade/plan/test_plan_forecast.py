"""Seconds and their spread, worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cascade.base.runtime import ROOT
from cascade.config.schema import Config
from cascade.plan import profile as profiles
from cascade.plan.forecast import Forecast, Part, Stage, forecast, together
from cascade.plan.profile import Profile, Rate
from cascade.plan.workload import StageWork, Work

RATE = Rate(kind="llm", load=100, prompt=0.5, token=0.01, written=0.1, spread=0.2, source="by hand")
NOTEBOOK = Rate(kind="notebook", load=40, spread=1.0, source="by hand")
WORK = Work("llm", "m", prompts=40, tokens=3000, cached=1000, written=100, loads=True, spread=0.8)
STARTED, UNKNOWN = Work("notebook", loads=True), Work("cross-encoder", "n", prompts=7, loads=True)
AVAILABLE = 1000.0


def made(*stages: StageWork, available: float = AVAILABLE) -> Forecast:
    base = profiles.load(ROOT / "profiles" / "t4x2.toml")
    known = Profile(characters_per_token=4, assumed=base.assumed, rate=[RATE, NOTEBOOK])
    settings: Any = SimpleNamespace(engine="vllm", time=SimpleNamespace(available=available))
    return forecast(cast(Config, settings), known, stages)


def part(rate: Rate | None, spread: float) -> Part:
    return Part(WORK, rate, 0.0, 1.0, spread)


def test_a_part_is_its_load_and_its_counts_and_its_rate_errs_apart_from_them() -> None:
    """100 to load; 40 * 0.5 + 2000 * 0.01 + 100 * 0.1 = 50: the rate errs by 0.2 * 150, what is counted by 0.8 * 50."""
    [found] = made(StageWork("s", (WORK,))).stages[0].parts
    assert (found.load, found.seconds) == (100, pytest.approx(150))
    assert found.spread == pytest.approx(50)
    [again] = made(StageWork("s", (Work("llm", "m", prompts=40),))).stages[0].parts
    assert (again.load, again.seconds, again.spread) == (0, 20, pytest.approx(4)), "it is loaded already"


def test_parts_of_one_rate_or_of_none_err_together_and_others_by_chance() -> None:
    assert together([part(RATE, 1.0), part(NOTEBOOK, 4.0), part(RATE, 2.0)]) == pytest.approx(5.0)
    assert together([part(RATE, 3.0), part(NOTEBOOK, 4.0), part(None, 5.0), part(None, 7.0)]) == pytest.approx(13.0)
    alike = RATE.model_copy()  # another rate, whatever it says
    assert together([part(RATE, 3.0), part(alike, 4.0)]) == pytest.approx(5.0)
    assert together([]) == 0.0


def test_what_has_no_rate_takes_anything_up_to_its_limit() -> None:
    """40 s of 100 are known: 60 are left, 30 within 30, which two works share; with the notebook's 40 within 40: 50."""
    found = made(StageWork("s", (STARTED, UNKNOWN, UNKNOWN), limit=100.0)).stages[0]
    assert [(each.seconds, each.spread) for each in found.unknown] == [(15, 15), (15, 15)]
    assert (found.load, found.seconds, found.spread) == (0, 70, pytest.approx(50))
    [unlimited] = made(StageWork("s", (UNKNOWN,))).stages[0].parts
    assert unlimited.seconds == unlimited.spread == AVAILABLE / 2
    over = made(StageWork("s", (STARTED, UNKNOWN), limit=10.0)).stages[0]
    assert [each.seconds for each in over.unknown] == [0], "the known part has passed the limit by itself"


def test_stages_follow_one_another_and_each_limit_that_is_passed_adds_to_what_is_missing() -> None:
    """40 + 150 = 190 s each, then 40: the first is 90 past its own limit, the second is within its own."""
    stages = [
        StageWork("a", (STARTED, WORK), 100.0),
        StageWork("b", (STARTED, WORK), 500.0),
        StageWork("c", (STARTED,)),
    ]
    found = made(*stages, available=400)
    assert [(stage.start, stage.end) for stage in found.stages] == [(0, 190), (190, 380), (380, 420)]
    assert [stage.over for stage in found.stages] == [90, 0, 0]
    assert (found.seconds, found.missing, found.fits) == (420, 20 + 90, False)
    assert made(*stages[1:], available=230).fits, "to the second"
    assert made(*stages[1:], available=1000).missing == 0
    # The three notebooks' 40 each, and the rate's 30 with the counts' 40 twice, which is 100.
    assert found.spread == pytest.approx((120**2 + 100**2) ** 0.5)
    assert isinstance(found.stages[0], Stage) and found.stages[0].load == 100, "without the notebook's own start"
