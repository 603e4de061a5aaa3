"""Calibration on ledgers made by hand from known rates: found again, and what they predict is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.base import ledger
from cascade.base.errors import PlanError
from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.plan import calibration, ledgers
from cascade.plan import profile as profiles
from cascade.plan.fit import costs, solve
from cascade.plan.forecast import Forecast, forecast
from cascade.plan.profile import Profile
from cascade.plan.workload import Planner
from cascade.stages import resume
from cascade.stages.context import RunContext
from tests.refusals import refused

CONFIG = """
engine = "vllm"
devices = ["cpu"]

[vllm]
block_size = 32

[[retrieval]]
name = "r1"
retriever = [{ kind = "tfidf" }, { kind = "dense", model = "not-here" }]

[[pipeline]]
name = "first"
kind = "listwise"
candidates = "r1"
top_k = 25
window = 15
stride = 10
model = "nor-here"
prompt = "prompts/listwise-tiny.txt"

[[pipeline]]
name = "second"
kind = "pointwise"
candidates = "r1"
top_k = 20
select = { by = "first", max_top1 = 0.9, top_n = 15 }
model = "nor-here"
prompt = "prompts/pointwise.txt"

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "r1"
top_k = 10
model = "not-here"

[ensemble]
weights = { first = 1.0 }
"""
BASE = profiles.load(ROOT / "profiles" / "t4x2.toml")
BESIDE, LOAD, PROMPT, TOKEN, PAIR = 3.0, 20.0, 0.05, 0.002, 0.01
TEXT, TEXT_TOKEN, BLEND, FUSION, ZERO = 0.001, 0.0004, 0.02, 0.03, 0.004
MORE_TOKENS = 1.1  # the runs' tokens, against what the plan makes of them
KEPT, CHOSEN = 0.6, 12.5  # share of the queries, and candidates of each, that second's select left
CHUNK = 16


class Maker:
    """A run's folder with the ledger that a machine of known rates would leave."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.config = config_of(folder)
        self.task = EEDI.read(ROOT / "sample")
        self.run = folder
        self.workers = workers
        self.now = 1_000_000.0
        self.lines: list[dict[str, Any]] = []
        (folder / resume.FILE).write_text(json.dumps(self.identity))

    @property
    def identity(self) -> dict[str, str]:
        return resume.identity(RunContext(self.config, self.task, self.run))

    @property
    def path(self) -> Path:
        return self.run / "ledger.jsonl"

    def write(self) -> Path:
        """Every stage in turn."""
        queries = len(self.task.queries)
        self.stage("install", lambda: None)
        self.stage("zero", lambda: self.phase("", ZERO * (queries + 343)))
        planner = Planner(self.config, self.task, BASE)
        works = {stage.name: stage.works for stage in planner.stages(self.config, BASE)}
        embedded = [
            {"texts": round(work.prompts), "load": LOAD * work.loads, "seconds": TEXT_TOKEN * work.tokens}
            for work in works["retrieve-r1"] if work.kind == "embedding"
        ]  # fmt: skip
        texts = sum(each["load"] + each["seconds"] for each in embedded)
        retrieve = {"queries": queries, "embedded": embedded}
        self.stage("retrieve-r1", lambda: self.phase("retrieve", BLEND * queries + texts, **retrieve))
        self.stage("rerank-first", lambda: self.scored(queries, 2, 700.0, seed=1))
        self.stage("rerank-second", lambda: self.second(queries))
        self.stage("rerank-ce", lambda: self.scored(queries, 10, 0.0, seed=3))
        self.stage("ensemble", lambda: self.phase("fuse", FUSION * queries))
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return self.path

    def stage(self, name: str, inside: Callable[[], None]) -> None:
        start = self.now
        before = len(self.lines)
        self.now += BESIDE if name != "zero" else 0.0
        inside()
        for line in self.lines[before:]:
            line["stage"] = name
        self.lines = [line for line in self.lines if line.get("phase")]
        self.lines.append({"stage": name, "phase": "stage", "start": start, "end": self.now, "status": "ok"})

    def phase(self, name: str, seconds: float, **facts: Any) -> None:
        self.lines.append({"phase": name, "start": self.now, "end": self.now + seconds, **facts})
        self.now += seconds

    def second(self, queries: int) -> None:
        kept = round(KEPT * queries)
        self.scored(kept, CHOSEN, 700.0, seed=2)
        selected = {"queries": kept, "of_queries": queries, "candidates": round(kept * CHOSEN)}
        self.phase("select", 0.0, selected=selected)

    def scored(self, queries: int, each: float, shared: float, seed: int) -> None:
        """Chunks of as much text and of random sizes, as queries are long or short; no `shared` tokens: pairs."""
        self.phase("load", LOAD)
        rng = np.random.default_rng(seed)
        chunks, free, left = [], [self.now] * self.workers, queries
        while left:
            size = min(left, int(rng.integers(CHUNK // 2, CHUNK)))
            left -= size
            prompts = round(size * each)
            own, read_once = (int(prompts * rng.integers(20, 60)), int(CHUNK * shared)) if shared else (0, 0)
            took = (PROMPT * prompts + TOKEN * (own + read_once)) if shared else PAIR * prompts
            worker = int(np.argmin(free))
            chunk = {"start": free[worker], "end": free[worker] + took, "queries": size, "prompts": prompts}
            if shared:
                tokens = own + read_once * prompts // size
                chunk |= {"tokens": tokens, "cached_tokens": tokens - own - read_once}
            chunks.append(chunk)
            free[worker] += took
        end = max(free)
        self.phase("score", end - self.now, queries=queries, chunks=chunks)

    def calibrate(self, *more: Path) -> Profile:
        runs = ledgers.read([self.path, *more], self.identity)
        return calibration.calibrate(self.config, self.task, BASE, runs, "by hand")


def config_of(folder: Path, **changes: str) -> Config:
    text = CONFIG
    for old, new in changes.items():
        text = text.replace(f"{old} = ", f"{old} = {new} #")
    path = folder / "plan.toml"
    path.write_text(text.replace("prompts/", f"{ROOT}/configs/prompts/"))
    return configs.load(path)


def plan(config: Config, task: Task, profile: Profile, queries: int | None = None) -> Forecast:
    return forecast(config, profile, Planner(config, task, profile, queries).stages(config, profile))


def by_name(found: Forecast) -> dict[str, float]:
    return {stage.name: stage.seconds for stage in found.stages}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    maker = Maker(tmp_path_factory.mktemp("run"))
    maker.write()
    return maker


def test_known_rates_are_found_again(made: Maker) -> None:
    known = made.calibrate()
    for stage in ("rerank-first", "rerank-second"):
        rate = known.find("llm", stage, "norhere", "vllm")
        assert rate is not None
        assert [rate.load, rate.prompt, rate.token, rate.written] == pytest.approx([LOAD, PROMPT, TOKEN, 0.0], rel=1e-3)
    pairs = known.find("cross-encoder", "rerank-ce", "nothere", "vllm")
    assert pairs is not None and pairs.prompt == pytest.approx(PAIR) and pairs.load == pytest.approx(LOAD)
    text = known.find("embedding", "retrieve-r1", "nothere", "vllm")
    assert text is not None and text.token == pytest.approx(TEXT_TOKEN) and text.load == pytest.approx(LOAD)
    for kind, stage, cost in (("blend", "retrieve-r1", BLEND), ("fusion", "ensemble", FUSION), ("zero", "zero", ZERO)):
        rate = known.find(kind, stage, "", "vllm")
        assert rate is not None and rate.prompt == pytest.approx(cost)
    beside = known.find("notebook", "rerank-ce", "", "vllm")
    assert beside is not None and beside.load == pytest.approx(BESIDE, abs=1e-6)
    fact = known.measured_of("rerank-second")
    assert (
        fact is not None and fact.queries == pytest.approx(KEPT / 0.5) and fact.candidates == pytest.approx(12.5 / 15)
    )


def test_the_calibrated_run_is_predicted_to_the_second(made: Maker) -> None:
    found = by_name(plan(made.config, made.task, made.calibrate()))
    for line in (line for line in made.lines if line["phase"] == "stage"):
        assert found[line["stage"]] == pytest.approx(line["end"] - line["start"], rel=1e-3), line["stage"]


def test_other_queries_and_candidates_are_predicted_exactly(made: Maker) -> None:
    known = made.calibrate()
    once = plan(made.config, made.task, known)
    more = plan(made.config, made.task, known, 3 * len(made.task.queries))
    for stage in ("rerank-first", "rerank-second", "rerank-ce"):
        one, three = by_name(once)[stage], by_name(more)[stage]
        assert three - BESIDE - LOAD == pytest.approx(3 * (one - BESIDE - LOAD), rel=1e-3)
    assert by_name(more)["ensemble"] == pytest.approx(BESIDE + 3 * 240 * FUSION)
    narrow = [p.model_copy(update={"top_k": 5}) if p.name == "ce" else p for p in made.config.pipeline]
    half = by_name(plan(made.config.model_copy(update={"pipeline": narrow}), made.task, known))["rerank-ce"]
    assert half == pytest.approx(BESIDE + LOAD + 240 * 5 * PAIR)


def test_two_workers_count_as_what_they_are_together(tmp_path: Path, made: Maker) -> None:
    pair = Maker(tmp_path / "two", workers=2)
    pair.write()
    known, alone = pair.calibrate(), made.calibrate()
    for stage in ("rerank-first", "rerank-ce"):
        kind, model = ("cross-encoder", "nothere") if stage == "rerank-ce" else ("llm", "norhere")
        two, one = (each.find(kind, stage, model, "vllm") for each in (known, alone))
        assert two is not None and one is not None and two.prompt == pytest.approx(one.prompt / 2, rel=0.06)
    line = next(line for line in pair.lines if line["stage"] == "rerank-first" and line["phase"] == "stage")
    found = by_name(plan(pair.config, pair.task, known))["rerank-first"]
    assert found == pytest.approx(line["end"] - line["start"], rel=1e-3)


def test_a_first_chunk_that_compiles_counts_as_loading() -> None:
    chunks, now = [], 0.0
    for number, prompts in enumerate([10, 14, 8, 12, 9]):
        took = 0.5 * prompts + (30.0 if number == 0 else 0.0)
        chunks.append({"start": now, "end": now + took, "queries": 5, "prompts": prompts})
        now += took
    found = costs([chunks])
    assert found is not None and found.prompt == pytest.approx(0.5) and found.warm_up == pytest.approx(30.0)


def test_prompts_and_tokens_that_rise_together_are_not_told_apart() -> None:
    counts = np.array([[n, 100.0 * n + n % 2, 0.0] for n in range(5, 20)])
    found = solve(counts, counts[:, 1] * 0.01)
    assert found == pytest.approx([0.0, 0.01, 0.0])
    apart = np.array([[5 + n % 7, 400.0 + 90 * (n % 4), 0.0] for n in range(15)])
    assert solve(apart, apart @ [0.3, 0.01, 0.0]) == pytest.approx([0.3, 0.01, 0.0])
    assert min(solve(apart, apart @ [-0.3, 0.01, 0.0])) == 0.0  # what would save time is noise


def test_a_rate_is_measured_with_the_settings_that_the_profile_tells_apart(made: Maker) -> None:
    """So that what was measured without INT8 activations is not taken for a run with them, nor the other way round."""
    runs = ledgers.read([made.path], made.identity)
    environment = {"VLLM_MARLIN_INPUT_DTYPE": "int8", "NCCL_P2P_DISABLE": "1"}
    config = made.config.model_copy(update={"environment": environment})
    int8 = calibration.calibrate(config, made.task, BASE, runs, "int8")
    rates = {(rate.kind, rate.stage): rate for rate in int8.rate if rate.source == "int8"}
    assert rates["llm", "rerank-first"].settings == {"VLLM_MARLIN_INPUT_DTYPE": "int8"}
    assert rates["cross-encoder", "rerank-ce"].settings == {}
    assert len(calibration.calibrate(config, made.task, int8, runs, "again").rate) == len(int8.rate)
    both = calibration.calibrate(made.config, made.task, int8, runs, "plain")
    for settings, source in ((environment, "int8"), ({}, "plain"), ({"NCCL_P2P_DISABLE": "1"}, "plain")):
        rate = both.find("llm", "rerank-first", "norhere", "vllm", settings)
        assert rate and rate.source == source


def test_a_profile_is_read_as_it_was_written(tmp_path: Path, made: Maker) -> None:
    known = made.calibrate()
    calibration.write(known, tmp_path / "made" / "profile.toml")
    read = profiles.load(tmp_path / "made" / "profile.toml")
    assert [(rate.kind, rate.stage, rate.model, rate.settings) for rate in read.rate] == [
        (rate.kind, rate.stage, rate.model, rate.settings) for rate in known.rate
    ]
    assert {"VLLM_MARLIN_INPUT_DTYPE": "int8"} in [rate.settings for rate in read.rate]
    again, once = (by_name(plan(made.config, made.task, profile)) for profile in (read, known))
    assert again == pytest.approx(once, rel=1e-4)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["profile.toml"]


def test_a_cut_ledger_counts_as_far_as_its_lines_are_whole(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "run")
    text = maker.write().read_text()
    maker.path.write_text(text[: text.index('"stage": "rerank-second", "phase": "stage"') + 5])
    runs = ledgers.read([maker.path], maker.identity)
    assert runs.said == [f"{maker.path}: 1 lines are cut off; the whole ones are used"]
    known = calibration.calibrate(maker.config, maker.task, BASE, runs, "cut")
    rates = {(rate.kind, rate.stage) for rate in known.rate if rate.source == "cut"}
    assert ("llm", "rerank-second") in rates and ("notebook", "rerank-second") not in rates
    assert ("cross-encoder", "rerank-ce") not in rates and ("notebook", "rerank-first") in rates
    maker.path.write_text(text[:30])
    with refused(PlanError, "no stage is complete", maker.path, mend="let a run finish"):
        ledgers.read([maker.path], maker.identity)


def test_a_ledger_cut_within_a_character_or_with_other_things_in_it_is_read_all_the_same(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "run")
    whole = maker.write().read_bytes()
    maker.path.write_bytes(whole + '{"stage": "ensemble", "phase": "budget", "decision": "½'.encode()[:-1])
    assert len(ledger.read(maker.run)) == len(maker.lines)
    runs = ledgers.read([maker.path], maker.identity)
    assert runs.said == [f"{maker.path}: 1 lines are cut off; the whole ones are used"]

    def with_(phase: str, **facts: Any) -> ledgers.Runs:
        line = next(line for line in maker.lines if (line["stage"], line["phase"]) == ("rerank-ce", "score"))
        maker.path.write_bytes(whole + (json.dumps(line | {"phase": phase} | facts) + "\n").encode())
        return ledgers.read([maker.path], maker.identity)

    assert "more" in with_("more").stages["rerank-ce"][0].phases
    chunk = {"start": maker.now, "end": maker.now + 1}
    for facts in (
        {"chunks": 5},
        {"chunks": [7]},
        {"chunks": [chunk]},
        {"embedded": None},
        {"embedded": [{"texts": 1}]},
    ):
        runs = with_("more", **facts)
        assert runs.said == [f"{maker.path}: 1 entries are invalid or end before they start; ignored"], facts
        calibration.calibrate(maker.config, maker.task, BASE, runs, "by hand")


def test_times_of_a_clock_that_jumped_are_left_out_and_said(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "run")
    maker.write()

    def jumped(stage: str, phase: str, **change: float) -> list[str]:
        lines = [dict(line) for line in maker.lines]
        line = next(line for line in lines if (line["stage"], line["phase"]) == (stage, phase))
        line |= {key: line[key] + by for key, by in change.items()}
        maker.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        runs = ledgers.read([maker.path], maker.identity)
        assert stage not in runs.stages or phase not in runs.stages[stage][0].phases
        return runs.said

    [said] = jumped("rerank-ce", "load", end=-3600.0)
    assert "1 entries are invalid or end before they start; ignored" in said
    [said] = jumped("rerank-first", "score", start=-3600.0)
    assert "rerank-first is left out: its times contradict each other, as the clock was changed" in said
    first, second = jumped("rerank-ce", "stage", start=-300.0, end=-300.0)  # as if beside the stage before
    assert "rerank-second is left out" in first and "rerank-ce is left out" in second


def test_a_chunk_in_which_the_clock_jumped_is_no_rate() -> None:
    chunks = [{"start": 10.0 * n, "end": 10.0 * n + 8, "queries": 4, "prompts": 4} for n in range(8)]
    chunks[5] = {**chunks[5], "end": chunks[5]["start"] + 3600}
    found = costs([chunks])
    assert found is not None and found.prompt == pytest.approx(2.0)


def test_a_ledger_of_something_else_is_refused(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "run")
    maker.write()
    other = resume.identity(RunContext(config_of(tmp_path, top_k="7"), maker.task, tmp_path))
    with refused(PlanError, "comes from a run with another config", "ledger.jsonl", mend="pass that config"):
        ledgers.read([maker.path], other)
    with refused(PlanError, "comes from a run on another test.csv", "ledger.jsonl", mend="pass that run's data folder"):
        ledgers.read([maker.path], {**maker.identity, "test.csv": "0"})
    (maker.run / resume.FILE).unlink()
    with refused(
        PlanError, "is not the record of a run", "run.json", mend="pass the ledger.jsonl in the run's own folder"
    ):
        ledgers.read([maker.path], maker.identity)
    with pytest.raises(PlanError, match=r"nowhere/ledger.jsonl: no such ledger"):
        ledgers.read([tmp_path / "nowhere" / "ledger.jsonl"], maker.identity)
