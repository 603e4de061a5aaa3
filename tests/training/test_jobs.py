"""Jobs: done once, again where anything they read has changed, each failure its own, and a kill costs what it hit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cascade.base.errors import ConfigError, StageError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import Config, LLMPipeline
from cascade.models.adapters import ADAPTER_FILES
from cascade.processes.workers import device_slots
from cascade.run import lock
from tests import processes
from training import weights
from training.jobs import graph, models, runner, starting
from training.jobs.executors import Processes
from training.jobs.job import Job
from training.jobs.runner import DONE, FAILED, KEPT, LEFT, Board

MARK = "CASCADE_JOBS_TEST"


def step(folder: Path, name: str, *needs: str, seconds: float = 0.0, fails: bool = False, about: str = "") -> Job:
    """A job that reads given.txt and what it needs, and leaves a file."""
    command = ("tests.training.step", str(folder / name), str(seconds), *(["3"] if fails else []))
    reads = (folder / "given.txt", *(folder / need for need in needs))
    return Job(name, command, reads, (folder / name,), about, needs)


def states(board: Board) -> dict[str, str]:
    return {name: standing.state for name, standing in board.standings.items()}


def run(folder: Path, *jobs: Job, at_once: int = 1) -> Board:
    board = Board(jobs, folder / "root", Processes(device_slots(["cpu"] * at_once)))
    board.run()
    return board


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given.txt").write_text("one")
    return tmp_path


def test_what_is_up_to_date_is_not_done_again(folder: Path) -> None:
    jobs = step(folder, "a"), step(folder, "b", "a"), step(folder, "c")
    assert {*states(run(folder, *jobs, at_once=2)).values()} == {DONE}
    assert {*states(run(folder, *jobs)).values()} == {KEPT}
    told = json.loads((folder / "root" / "jobs" / "b.json").read_text())
    assert told["command"] == list(jobs[1].command) and told["seconds"] > 0


@pytest.mark.parametrize("change", ["input", "output", "settings", "record"])
def test_what_has_changed_is_done_again_and_what_reads_it(folder: Path, change: str) -> None:
    jobs = [step(folder, "a"), step(folder, "b", "a"), step(folder, "c")]
    run(folder, *jobs)
    if change == "input":
        (folder / "given.txt").write_text("two")
    if change == "output":
        (folder / "a").write_text("somebody's")
    if change == "settings":
        jobs[0] = step(folder, "a", about="rank 16")
    if change == "record":
        (folder / "root" / "jobs" / "a.json").write_text('{"digest": ')
    found = states(run(folder, *jobs))
    assert found == {"a": DONE, "b": DONE, "c": DONE if change == "input" else KEPT}


def test_a_failure_leaves_the_others_running(folder: Path) -> None:
    jobs = step(folder, "a", fails=True), step(folder, "b", "a"), step(folder, "c", "b"), step(folder, "d")
    board = Board(jobs, folder / "root", Processes(device_slots(["cpu"])))
    with pytest.raises(StageError) as error:
        runner.run(board)
    assert states(board) == {"a": FAILED, "b": LEFT, "c": LEFT, "d": DONE}
    assert error.value.path == folder / "root"
    for told in (
        "3 of 4 jobs",
        "a failed (exit code 1: error: asked to end with 3)",
        "b was not run (needs a)",
        "a.log",
    ):
        assert told in str(error.value)


def test_a_job_that_leaves_nothing_has_failed(folder: Path) -> None:
    job = Job("a", ("tests.training.step", str(folder / "elsewhere"), "0"), (), (folder / "a",))
    board = run(folder, job)
    assert states(board) == {"a": FAILED} and board.standings["a"].why == f"it left no {folder / 'a'}"


def test_as_many_jobs_at_once_as_places(folder: Path) -> None:
    jobs = [step(folder, name, seconds=0.5) for name in "abcd"]
    board = run(folder, *jobs, at_once=2)
    starts = sorted((each.began, each.began + each.seconds) for each in board.standings.values())
    assert max(at_once(starts)) == 2
    assert board.left() == 0 and board.table().row_count == 4


def at_once(starts: list[tuple[float, float]]) -> list[int]:
    """How many ran at the start of each."""
    return [sum(begun <= start < ended for begun, ended in starts) for start, _ in starts]


def test_nothing_runs_beside_a_job_that_takes_all_devices(folder: Path) -> None:
    jobs = [step(folder, "a", seconds=0.3), replace(step(folder, "b", seconds=0.3), whole=True), step(folder, "c")]
    board = run(folder, *jobs, at_once=2)
    assert {*states(board).values()} == {DONE}
    assert max(at_once([(each.began, each.began + each.seconds) for each in board.standings.values()])) <= 2
    own = board.standings["b"]
    for other in (board.standings["a"], board.standings["c"]):
        assert other.began + other.seconds <= own.began or own.began + own.seconds <= other.began


def test_a_second_training_in_the_folder_is_refused(folder: Path) -> None:
    board = Board([step(folder, "a")], folder / "root", Processes(device_slots(["cpu"])))
    runner.run(board)
    with lock.held(folder / "root"), pytest.raises(StageError, match="another --root"):
        runner.run(board)


def test_a_persons_folder_is_no_place_for_a_training(folder: Path) -> None:
    (folder / "root" / "logs").mkdir(parents=True)
    (folder / "root" / "logs" / "a.log").write_text("mine")
    board = Board([step(folder, "a")], folder / "root", Processes(device_slots(["cpu"])))
    with pytest.raises(StageError, match="contains logs, and no training made it"):
        runner.run(board)
    assert (folder / "root" / "logs" / "a.log").read_text() == "mine" and not (folder / "a").exists()


def test_the_trainings_own_code_is_part_of_what_a_job_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, step(folder, "a"))
    monkeypatch.setattr("training.jobs.job.code", lambda: "another")
    assert states(run(folder, step(folder, "a"))) == {"a": DONE}


def test_what_a_record_or_a_score_file_lacks_costs_nothing_else(folder: Path) -> None:
    jobs = replace(step(folder, "a"), scores=folder / "a"), step(folder, "b")
    run(folder, *jobs)
    path = folder / "root" / "jobs" / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": None}))
    board = run(folder, *jobs)
    assert states(board) == {"a": KEPT, "b": KEPT} and board.table().row_count == 2
    (folder / "root" / "jobs" / "b.json").unlink()
    (folder / "root" / "jobs" / "b.json").mkdir()
    board = run(folder, *jobs)
    assert states(board) == {"a": KEPT, "b": FAILED} and "record cannot be written" in board.standings["b"].why


def test_a_killed_runner_leaves_nothing_running_and_repeats_one_job(folder: Path) -> None:
    script = folder / "run.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom tests.training.test_jobs import run, step\n"
        f"folder = Path({str(folder)!r})\n"
        "run(folder, step(folder, 'a'), step(folder, 'b', 'a', seconds=60))\n"
    )
    environment = os.environ | {MARK: folder.name, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    log = folder / "root" / "logs" / "b.log"
    while not (log.exists() and "runs" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 10
    while processes.marked(MARK, folder.name) and time.monotonic() < until:
        time.sleep(0.1)
    assert not processes.marked(MARK, folder.name)
    assert not (folder / "b").exists()
    found = states(run(folder, step(folder, "a"), step(folder, "b", "a", seconds=0.0)))
    assert found == {"a": KEPT, "b": DONE}


def test_only_takes_what_it_needs_with_it(folder: Path) -> None:
    jobs = [step(folder, "a"), step(folder, "b", "a"), step(folder, "c", "b"), step(folder, "d")]
    assert [job.name for job in starting.wanted(jobs, "c")] == ["a", "b", "c"]
    assert [job.name for job in starting.wanted(jobs, "[ad]")] == ["a", "d"]
    with pytest.raises(StageError, match="fits no job's name; use one of a, b, c, d"):
        starting.wanted(jobs, "fold-*")


def test_every_adapter_of_a_config_is_a_job(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    config = configs.load(ROOT / "configs" / "tiny-llm.toml")
    jobs = {job.name: job for job in graph.jobs(config, tmp_path, tmp_path / "root", 2, 50)}
    assert [*jobs][:2] == ["folds", "fold-0/retriever-minilm"]
    every = {*models.retrievers(config), *models.cross_encoders(config), *models.rerankers(config)}
    assert every == {"retriever-minilm", "cross-encoder-minilm", "tiny-listwise", "tiny-pointwise"}
    assert every <= {*jobs} and {f"fold-1/{name}" for name in every} <= {*jobs}
    ranked = jobs["fold-1/tiny-pointwise"]
    assert {"folds", "fold-1/retriever-minilm"} == {*ranked.needs}, "negatives are found by the fold's own retriever"
    own = tmp_path / "root" / "fold-1" / "adapters"
    assert f"--queries 50 --config {config.path}" in " ".join(ranked.command)
    assert ranked.command[-3:] == ("--adapters", str(own), "--replace")
    assert ranked.leaves == tuple(own / "tiny-pointwise" / name for name in ADAPTER_FILES)
    assert jobs["fold-1/retriever-minilm"].command[-2] == str(own / "retriever-minilm")
    assert not any(job.whole for job in jobs.values())
    assert any(path.name == "pointwise.txt" for path in ranked.reads)
    assert {*jobs["fold-0/scores"].needs} == {"folds", *(f"fold-0/{name}" for name in every)}


def test_the_folds_of_another_training_are_taken(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    file = tmp_path / "folds.json"
    fold = {"apart": [1], "test": [1], "held_out": []}
    file.write_text(json.dumps({"competition": "eedi", "train.csv": "", "folds": [fold] * 4}))
    found = graph.jobs(configs.load(ROOT / "configs" / "sample.toml"), tmp_path, tmp_path / "root", file, None)
    assert found[0].command[-4:-2] == ("--from", str(file)) and file in found[0].reads and len(found[0].leaves) == 4
    assert {job.name for job in found if job.name.endswith("scores")} == {f"fold-{n}/scores" for n in range(4)}
    fit = next(job for job in found if job.name == "fit")
    assert fit.command[fit.command.index("--folds") + 1] == "4"


def changed(config: Config, **keys: Any) -> Config:
    """The config with other keys of its first LLM pipeline."""
    first = next(each for each in config.pipeline if isinstance(each, LLMPipeline))
    others = [each.model_copy(update=keys) if each is first else each for each in config.pipeline]
    return config.model_copy(update={"pipeline": others})


@pytest.mark.parametrize(
    ("keys", "trained", "scored"),
    [
        ({"limit": 60.0}, False, True),
        ({"chunk": 3}, False, True),
        ({"max_length": 512}, True, True),
        ({"enabled": False}, True, True),  # another pipeline has the adapter, and teaches it otherwise
    ],
)
def test_what_the_config_says_of_an_adapter_decides_whether_it_is_due(
    tmp_path: Path, keys: dict[str, Any], trained: bool, scored: bool
) -> None:
    config = configs.load(ROOT / "configs" / "tiny-llm.toml")
    before, after = (
        {job.name: job.digest() for job in graph.jobs(each, tmp_path, tmp_path / "root", 2, None)}
        for each in (config, changed(config, **keys))
    )
    assert (before["tiny-listwise"] != after.get("tiny-listwise", before["tiny-listwise"])) is trained
    assert (before["fold-0/scores"] != after["fold-0/scores"]) is scored
    assert before["tiny-pointwise"] == after["tiny-pointwise"] and before["folds"] == after["folds"]


def test_a_pipeline_that_is_switched_off_is_not_trained() -> None:
    config = configs.load(ROOT / "configs" / "tiny-llm.toml")
    off = config.model_copy(
        update={"pipeline": [each.model_copy(update={"enabled": False}) for each in config.pipeline]}
    )
    assert models.rerankers(config) and models.cross_encoders(config)
    assert not models.rerankers(off) and not models.cross_encoders(off)


def test_every_file_that_decides_the_prompts_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        (ROOT / "configs" / "tiny-llm.toml").read_text().replace("top_k = 100", 'top_k = 100\nquery_text = "q.txt"')
    )
    config = configs.load(tmp_path / "mine.toml").model_copy(update={"competition": "mine.py"})
    jobs = {
        job.name: {path.name for path in job.reads} for job in graph.jobs(config, tmp_path, tmp_path / "r", 2, None)
    }
    assert {"mine.py", "q.txt"} <= jobs["folds"] & jobs["fold-0/scores"] & jobs["fit"] & jobs["fold-1/retriever-minilm"]
    assert {Path(model.prompt).name for model in config.language_models().values()} <= jobs["fold-0/scores"]


def test_an_adapter_that_no_job_trains(tmp_path: Path) -> None:
    config = configs.load(ROOT / "configs" / "cross-encoder.toml")
    retrieval = config.retrieval[0]
    parts = [part for part in retrieval.retriever if part.kind != "dense"]
    assert any(part.kind == "neighbours" for part in parts)
    lone = config.model_copy(update={"retrieval": [retrieval.model_copy(update={"retriever": parts})]})
    with pytest.raises(ConfigError, match=r"adapter 'retriever-minilm' is not one that is trained"):
        graph.jobs(lone, tmp_path, tmp_path / "root", 2, None)
    for name in ("fit", "cross-encoder-minilm"):
        dense = [
            part.model_copy(update={"adapter": name} if part.kind == "dense" else {}) for part in retrieval.retriever
        ]
        named = config.model_copy(update={"retrieval": [retrieval.model_copy(update={"retriever": dense})]})
        with pytest.raises(ConfigError, match=f"adapter '{name}' is of two kinds, or has a job's name"):
            graph.jobs(named, tmp_path, tmp_path / "root", 2, None)


def test_a_model_over_all_cards_is_scored_with_all_of_them(tmp_path: Path) -> None:
    config = configs.load(ROOT / "configs" / "t4x2-smoke.toml")
    jobs = graph.jobs(config, tmp_path, tmp_path / "root", 2, None)
    assert {job.name for job in jobs if job.whole} == {"fold-0/scores", "fold-1/scores"}


def test_an_adapter_that_the_config_does_not_have() -> None:
    config = configs.load(ROOT / "configs" / "sample.toml")
    with pytest.raises(ConfigError, match="has no retriever with adapter 'mine'; use one of retriever-minilm"):
        models.chosen(models.retrievers(config), "mine", "retriever", config)
    with pytest.raises(ConfigError, match='has no pipeline with an adapter; add adapter = "name" to a pipeline'):
        models.chosen(models.cross_encoders(config), None, "pipeline", config)


def test_a_training_from_folds_to_numbers(tmp_path: Path) -> None:
    """Of a config that trains no model: folds, their scores, the numbers; and nothing of it twice."""
    data = tmp_path / "data"
    data.mkdir()
    for name, rows in (("train.csv", 80), ("test.csv", 4), ("misconception_mapping.csv", 400)):
        pd.read_csv(ROOT / "sample" / name, dtype=str, keep_default_na=False).head(rows).to_csv(
            data / name, index=False
        )
    config = tmp_path / "mine.toml"
    config.write_text(
        '[[retrieval]]\nname = "r1"\n[[retrieval.retriever]]\nkind = "tfidf"\n'
        '[[retrieval.retriever]]\nkind = "classifier"\n[ensemble]\nweights = { r1 = 1.0 }\n'
    )
    root = tmp_path / "root"
    command = [sys.executable, "-m", "training", "run", "--config", str(config), "--data", str(data), "--folds", "2"]
    whole = subprocess.run([*command, "--root", str(root)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    scores = [json.loads((root / f"fold-{fold}" / "scores.json").read_text())["submission"] for fold in (0, 1)]
    assert all(0.1 < each["map"] < 0.9 and each["unseen"] > 0.4 * each["queries"] for each in scores)
    assert all(f"{each['map']:.4f}" in whole.stdout for each in scores)
    numbers = tomllib.loads((root / graph.NUMBERS).read_text())
    assert [part["kind"] for part in numbers["retrieval"]["retriever"]] == ["tfidf", "classifier"]
    assert numbers["ensemble"]["weights"] == {"r1": 1.0} and numbers["ensemble"]["unseen_boost"] in weights.BOOSTS
    ready = configs.load(root / graph.CONFIG)
    assert [part.weight for part in ready.retrieval[0].retriever] == [
        part["weight"] for part in numbers["retrieval"]["retriever"]
    ]
    again = subprocess.run(
        [*command, "--root", str(root), "--show"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert again.stdout.count("up to date") == 4 and "due" not in again.stdout
    more = subprocess.run(
        [*command[:-1], "3", "--root", str(root), "--show"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "folds: due:" in more.stdout and "fold-0/scores: due after folds:" in more.stdout
