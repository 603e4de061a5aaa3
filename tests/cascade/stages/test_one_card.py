"""When a commit run has one card make canaries, and what it says where that is not possible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade.base import ledger
from cascade.config.schema import LLMPipeline
from cascade.processes import workers
from cascade.processes.workers import DeviceSlot, Done
from cascade.stages import one_card
from cascade.stages.context import RunContext
from tests.llm import POINTWISE, make_bench, make_config

TWO = [DeviceSlot(("cpu", "cpu"))]


def asked(context: RunContext, slots: list[DeviceSlot]) -> list[str]:
    """What the ledger says was tried, none of which ended in canaries."""
    with one_card.canaries_of(context, context.config.pipeline[0], slots) as made:
        assert made == context.run.parent / "canaries" / "llm" / "p.json"
    return [entry["decision"] for entry in ledger.read(context.run)]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """A commit run's stage on two cards, with a model of no card's size."""
    monkeypatch.setattr("cascade.base.runtime.INPUT", tmp_path)
    monkeypatch.setattr(one_card, "FITS", 0.0)
    monkeypatch.delenv("KAGGLE_IS_COMPETITION_RERUN", raising=False)
    return make_bench(tmp_path, make_config(tmp_path, POINTWISE + 'parallel = "tensor"\n', "vllm", ("cpu", "cpu")))


def test_a_model_that_no_card_holds_is_not_proved(context: RunContext, capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = asked(context, TWO)
    assert told.startswith("not proved: nothing says that the scores of several cards together are right (its weights,")
    assert f"rerank-p: {told}" in capsys.readouterr().out


def test_a_process_that_cannot_make_them_costs_nothing_else(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that is not there."""
    monkeypatch.setattr(one_card, "FITS", 0.75)
    pipeline = context.config.pipeline[0]
    assert isinstance(pipeline, LLMPipeline)
    context.config.pipeline[0] = pipeline.model_copy(update={"adapter": "missing"})
    (told,) = asked(context, TWO)
    assert told.startswith("not proved") and "missing" in told


def test_a_card_makes_them_alone(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_card, "FITS", 0.75)
    made_by: list[tuple[str, tuple[str, ...]]] = []

    class Pool:
        """A pool that makes nothing."""

        def __init__(self, name: str, slots: list[DeviceSlot], logs: Path, make: Any, arguments: Any, _: Any) -> None:
            pipeline, _, queries, self.path = arguments
            assert len(queries) == 16 and make is one_card.open_maker
            made_by.append((pipeline.parallel, slots[0].devices))

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def run(self, tasks: list[None]) -> list[Done[None]]:
            self.path.write_text("{}")
            return [Done(task) for task in tasks]

    monkeypatch.setattr(workers, "Pool", Pool)
    with one_card.canaries_of(context, context.config.pipeline[0], TWO) as made:
        assert made is not None and made.read_text() == "{}" and context.run not in made.parents
    assert made_by == [("data", ("cpu",))] and not made.exists()
    (entry,) = ledger.read(context.run)
    assert entry["decision"] == "its canaries are made by cpu alone"


@pytest.mark.parametrize("why", ["one card", "rerun", "elsewhere", "canaries", "nothing left"])
def test_nothing_is_made_where_it_is_not_called_for(
    why: str, context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "rerun":
        monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    if why == "elsewhere":
        monkeypatch.setattr("cascade.base.runtime.INPUT", tmp_path / "none")
    if why == "canaries":
        (tmp_path / "canaries" / "llm").mkdir(parents=True)
        (tmp_path / "canaries" / "llm" / "p.json").write_text("{}")
    assert asked(context, [] if why == "nothing left" else [DeviceSlot(("cpu",))] if why == "one card" else TWO) == []
