"""The real vLLM engine, on the CPU: held to the transformers engine, shared out, killed, fed what it must refuse."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from cascade.base import ledger
from cascade.base.errors import ModelError
from cascade.config.schema import LanguageModel, PointwisePipeline
from cascade.models.prompts import LETTERS, Prompter, Template, lettered, query_fields
from cascade.processes import workers
from cascade.rankings import tables
from cascade.rerankers.opening import open_reranker
from cascade.scorers.prefixes import common_length
from cascade.stages import stages
from cascade.stages.context import RunContext
from tests.eedi import FIELDS
from tests.llm import (
    LISTWISE,
    MODEL,
    POINTWISE,
    broken_model,
    make_bench,
    make_config,
    open_for_test,
    penalised_model,
    same_order,
)


def ask(context: RunContext, options: int, *tasks: tuple[str, tuple[Any, ...]]) -> list[Any]:
    """What one process with the context's engine and model answers to each task, with its usage.

    The other engine answers in this one, which has loaded what it needs.
    """
    model = context.config.pipeline[0]
    assert isinstance(model, LanguageModel)
    if context.config.engine == "transformers":
        work = open_for_test(workers.DeviceSlot(("cpu",)), model, context.config, options)
        return [work(task) for task in tasks]
    pool = workers.Pool(
        context.config.engine, workers.device_slots(["cpu"]), context.run / "logs", open_for_test,
        (model, context.config, options), context.config.environment,
    )  # fmt: skip
    with pool:
        done = {id(each.task): each for each in pool.run(tasks)}
    for each in done.values():
        if each.error is not None:
            raise each.error
    return [done[id(task)].value for task in tasks]


def both_engines(folder: Path, pipeline: str, queries: int = 6) -> list[RunContext]:
    made = []
    for engine in ("transformers", "vllm"):
        (folder / engine).mkdir()
        made.append(make_bench(folder / engine, make_config(folder / engine, pipeline, engine), queries))
    return made


def pointwise_prompts(context: RunContext) -> tuple[list[list[int]], list[int]]:
    from transformers import AutoTokenizer

    prompter = Prompter(
        Template(Path("configs/prompts/pointwise.txt"), FIELDS, "candidate"), AutoTokenizer.from_pretrained(MODEL), 1000
    )
    given = tables.read(context.config.table_path("r1", context.run))
    prompts: list[list[int]] = []
    for query in context.queries().to_dict("records"):
        ids = given["label_id"][given["query_id"] == query["query_id"]]
        prompts += prompter.fit("", [{**query_fields(query), "candidate": context.task.texts[i]} for i in ids])[0]
    return prompts, prompter.option_ids(["Yes", "No"])


@pytest.mark.parametrize("adapter", ["tiny-pointwise", None])
def test_both_engines_agree_on_yes_and_no(tmp_path: Path, adapter: str | None) -> None:
    pipeline = POINTWISE if adapter else POINTWISE.replace('adapter = "tiny-pointwise"\n', "")
    oracle, context = both_engines(tmp_path, pipeline)
    prompts, options = pointwise_prompts(context)
    sample = prompts[:: len(prompts) // 8][:8]
    [(wanted, _)] = ask(oracle, 2, ("score", (prompts, options)))
    [(_, exact)] = ask(oracle, 2, ("score", (sample, options)))  # a process measures its first prompts
    (scores, used), (written, _) = ask(context, 2, ("score", (prompts, options)), ("generate", (prompts[::25], 12)))
    [(expected, _)] = ask(oracle, 2, ("generate", (prompts[::25], 12)))
    assert np.abs(np.exp(scores) - np.exp(wanted)).max() < 1e-3
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-4)
    assert written == expected
    # Of eight prompts vLLM is asked for the likeliest tokens; an option that is not among them counts as the last.
    most, shares = (sorted(share for share, _ in each["shares"]) for each in (used, exact))
    assert len(most) == 8
    assert all(0.98 * share <= limit < share + 0.05 for share, limit in zip(shares, most, strict=True))
    assert sorted(rather for _, rather in used["shares"]) == sorted(rather for _, rather in exact["shares"])
    assert used["prompts"] == len(prompts) and used["tokens"] == sum(map(len, prompts))
    # A query's 25 prompts share what stands before the candidate, in whole blocks of 32.
    wanted_tokens = 0
    for start in range(0, len(prompts), 25):
        shared = min(common_length(prompts[start], prompt) for prompt in prompts[start + 1 : start + 25])
        wanted_tokens += 24 * (shared // 32) * 32
    assert used["cached_tokens"] >= 0.95 * wanted_tokens


def test_both_engines_write_the_same_whatever_the_model_asks_for(tmp_path: Path) -> None:
    penalised = POINTWISE.replace(str(MODEL), str(penalised_model(tmp_path / "tiny-qwen2")))
    oracle, context = both_engines(tmp_path, penalised)
    prompts, _ = pointwise_prompts(context)
    [(expected, _)] = ask(oracle, 2, ("generate", (prompts[::25], 20)))
    [(written, _)] = ask(context, 2, ("generate", (prompts[::25], 20)))
    assert written == expected


def test_both_engines_agree_on_52_letters(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    oracle, context = both_engines(tmp_path, LISTWISE.replace("max_length = 1024", "max_length = 2048"))
    prompter = Prompter(
        Template(Path("configs/prompts/listwise.txt"), FIELDS, "options"), AutoTokenizer.from_pretrained(MODEL), 2000
    )
    names = list(context.task.texts.values())[:52]
    prompts = [
        prompter.fit("", [{**query_fields(query), "options": lettered(names)}])[0][0]
        for query in context.queries().to_dict("records")
    ]
    options = prompter.option_ids(LETTERS)
    [(wanted, _)] = ask(oracle, 52, ("score", (prompts, options)))
    [(scores, _)] = ask(context, 52, ("score", (prompts, options)))
    assert np.isfinite(scores).all()
    assert np.abs(np.exp(scores) - np.exp(wanted)).max() < 1e-3


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("one")
    return stages.rerank(make_bench(folder, make_config(folder, POINTWISE, "vllm")), "p")


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pair = ["query_id", "label_id"]
    first, second = (table.set_index(pair)["score"].sort_index() for table in (one, other))
    assert first.index.equals(second.index)
    assert (first - second).abs().max() < 1e-4
    assert same_order(one, other, 1e-4)


@pytest.mark.parametrize("parallel", ["data", "tensor"])
def test_two_cpus_score_as_one_does(tmp_path: Path, parallel: str, one_worker: pd.DataFrame) -> None:
    config = make_config(tmp_path, POINTWISE + f'parallel = "{parallel}"\n', "vllm", ("cpu", "cpu"))
    table = stages.rerank(make_bench(tmp_path, config), "p")
    assert_same(one_worker, table)
    logs = list((tmp_path / "run" / "logs").glob("rerank-p-*.log"))
    assert len(logs) == (2 if parallel == "data" else 1)


@pytest.mark.parametrize("bound", [0.5, 1e-9])
def test_a_commit_run_holds_two_cards_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bound that float32 itself does not keep is what two cards that score otherwise would meet."""
    monkeypatch.setattr("cascade.base.runtime.INPUT", tmp_path)
    text = POINTWISE + f'parallel = "tensor"\ncanary_bound = {bound}\n'
    context = make_bench(tmp_path, make_config(tmp_path, text, "vllm", ("cpu", "cpu")), queries=2)
    if bound < 0.5:
        with pytest.raises(
            ModelError, match=r"not those of .*p\.json, made by vllm on cpu alone .*canary_bound is 1e-09"
        ):
            stages.rerank(context, "p")
        return
    stages.rerank(context, "p")
    assert "rerank-p: its canaries are made by cpu alone" in capsys.readouterr().out
    (entry,) = (entry for entry in ledger.read(context.run) if entry["phase"] == "score")
    (proved,) = entry["canaries"]
    assert proved["prompts"] == 64 and proved["mean"] < 1e-4 and proved["ranks"] > 0.999


def test_a_killed_worker_gives_its_queries_to_the_other(
    tmp_path: Path, one_worker: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed when half of the chunks are done, with everything that belongs to it."""
    config = make_config(tmp_path, POINTWISE, "vllm", ("cpu", "cpu"))
    context = make_bench(tmp_path, config)
    pipeline = config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    queries, given = context.queries(), tables.read(config.table_path("r1", context.run))
    tasks = [
        (queries[queries["query_id"] == query], given[given["query_id"] == query]) for query in queries["query_id"]
    ]
    pool = workers.Pool(
        "p", workers.device_slots(["cpu", "cpu"]), context.run / "logs", open_reranker,
        (pipeline, config, context.task.texts), config.environment,
    )  # fmt: skip
    done = []
    with pool:
        for finished in pool.run(tasks):
            done.append(finished.value[0])
            if len(done) == len(tasks) // 2:
                # One at work; where the other is still loading, that is the one that is about to be given the next.
                hit = max((worker for worker in pool.workers if worker.ready), key=lambda each: each.task is not None)
                process = psutil.Process(hit.process.pid)
                # Itself first: it would tell of its engine's death, which is another way to die.
                for each in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()
    assert "died (exit code -9); its work continues elsewhere" in capsys.readouterr().out
    assert_same(one_worker, pd.concat(done, ignore_index=True))


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RunContext, pd.DataFrame]]:
    """By engine, scores that are shares of a query's candidates; the third query's are no numbers."""
    folder = tmp_path_factory.mktemp("shares")
    broken = broken_model(folder / "tiny-qwen2", "@")
    pipeline, made = POINTWISE.replace(str(MODEL), str(broken)) + 'normalise = "query"\n', {}
    for context in both_engines(folder, pipeline, queries=4):
        context.task.queries.loc[2, "question"] += " @"
        made[context.config.engine] = context, stages.rerank(context, "p")
    return made


def test_a_chunk_whose_score_is_no_number_is_left_out(shares: dict[str, tuple[RunContext, pd.DataFrame]]) -> None:
    context, table = shares["vllm"]
    query = context.task.queries["query_id"][2]
    assert query not in set(table["query_id"]) and table["query_id"].nunique() == 2
    decision = next(entry["decision"] for entry in ledger.read(context.run) if "decision" in entry)
    assert f"prompt {query}, number 1: its score is not a finite number" in decision


def test_both_engines_share_a_query_out_alike(shares: dict[str, tuple[RunContext, pd.DataFrame]]) -> None:
    (_, wanted), (_, table) = shares["transformers"], shares["vllm"]
    assert_same(wanted, table)
    totals = table.groupby("query_id")["score"].sum()
    assert len(totals) == 2 and np.allclose(totals, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("vllm = { swap_space = 4 }\n", "the installed vLLM has no engine argument 'swap_space'"),
        ("vllm = { max_num_seq = 4 }\n", "(did you mean 'max_num_seqs'?)"),
        ("vllm = { max_lora_rank = 1 }\n", "rank 8 is more than the engine's max_lora_rank = 1"),
    ],
)
def test_what_the_engine_cannot_take_is_one_clear_error(tmp_path: Path, extra: str, told: str) -> None:
    context = make_bench(tmp_path, make_config(tmp_path, POINTWISE + extra, "vllm"), queries=2)
    with pytest.raises(ModelError) as error:
        stages.rerank(context, "p")
    assert told in str(error.value)
