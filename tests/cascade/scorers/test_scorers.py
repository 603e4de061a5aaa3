"""The transformers engine, and the rerankers on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from cascade.base import ledger
from cascade.base.errors import ModelError, ScoreError, StageError
from cascade.base.runtime import ROOT
from cascade.config.schema import PointwisePipeline, Reason
from cascade.models import adapters
from cascade.models.prompts import LETTERS, Prompter, Template, lettered, query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rankings import metrics, tables
from cascade.rankings.selection import PAIR
from cascade.rankings.tables import check_finite
from cascade.rankings.windows import windows
from cascade.rerankers.llm import LLMReranker
from cascade.scorers import writer
from cascade.scorers.transformers_engine import TransformersScorer
from cascade.stages import reading, stages
from cascade.stages.context import RunContext
from tests.eedi import FIELDS
from tests.llm import (
    ADAPTERS,
    LISTWISE,
    MODEL,
    POINTWISE,
    TOURNAMENT,
    broken_model,
    make_bench,
    make_config,
    penalised_model,
)

CPU = DeviceSlot(("cpu",))


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return make_bench(tmp_path, make_config(tmp_path, POINTWISE), queries=4)


def open_on(context: RunContext) -> TransformersScorer:
    pipeline = context.config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    return TransformersScorer(CPU, pipeline, MODEL, ADAPTERS / "tiny-pointwise")


def prompts_of(
    context: RunContext, scorer: TransformersScorer, candidates: int = 8
) -> tuple[list[list[int]], list[int]]:
    prompter = Prompter(Template(Path("configs/prompts/pointwise.txt"), FIELDS, "candidate"), scorer.tokenizer, 1000)
    names = list(context.task.texts.values())[:candidates]
    prompts: list[list[int]] = []
    for query in context.queries().to_dict("records"):
        prompts += prompter.fit("", [{**query_fields(query), "candidate": name} for name in names])[0]
    return prompts, prompter.option_ids(["Yes", "No"])


def test_scores_are_those_of_the_model_asked_one_prompt_at_a_time(context: RunContext) -> None:
    """Shared beginnings, padding and batches change nothing: the oracle is the bare model with its adapter."""
    scorer = open_on(context)
    prompts, options = prompts_of(context, scorer)
    oracle = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    adapters.merge_adapter(oracle, ADAPTERS / "tiny-pointwise")
    with torch.inference_mode():
        logits = [oracle(torch.tensor([p])).logits[0, -1] for p in prompts]
    wanted = [each[options].log_softmax(-1).numpy() for each in logits]
    scores = scorer.score(prompts, options)
    shares = scorer.usage.take()["shares"]
    # Of the first query that was read.
    held = [float(each.softmax(-1)[options].sum()) for each in logits]
    of_query = [held[start : start + 8] for start in range(0, len(prompts), 8)]
    (start,) = [
        8 * n for n, each in enumerate(of_query) if np.allclose([share for share, _ in shares], each, rtol=1e-3)
    ]
    rather = [scorer.tokenizer.decode(int(each.argmax())) for each in logits[start : start + 8]]
    assert [text for _, text in shares] == ["" if text in ("Yes", "No") else text for text in rather]
    assert scores.dtype == np.float32 and scores.shape == (len(prompts), 2)
    assert np.abs(scores - np.stack(wanted)).max() < 1e-4
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-5)
    assert np.ptp(scores[:, 0]) > 1e-3  # the prompts do differ


@pytest.mark.parametrize("opened", ["a reranker", "a writer"])
def test_a_stage_refuses_a_tokenizer_that_loses_every_space(tmp_path: Path, opened: str) -> None:
    """A byte-level tokenizer.json under the class of another kind of tokens, as models distilled from Llama have."""
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    for file, key, value in (
        ("tokenizer_config.json", "tokenizer_class", "LlamaTokenizerFast"),
        ("config.json", "model_type", "llama"),
    ):
        settings = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps({**settings, key: value}), encoding="utf-8")
    bare = POINTWISE.replace('adapter = "tiny-pointwise"\n', "").replace(str(MODEL), str(folder))
    config = make_config(tmp_path, bare)
    pipeline = config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    with pytest.raises(ModelError, match="words run together"):
        if opened == "a reranker":
            LLMReranker(CPU, pipeline, config, {})
        else:
            writer.open_writer(CPU, Reason(model=str(folder), prompt=str(ROOT / "configs/prompts/reason.txt")), config)


def test_shared_and_separate_prompts_score_alike(context: RunContext) -> None:
    scorer = open_on(context)
    prompts, options = prompts_of(context, scorer)
    together = scorer.score(prompts, options)
    shared = scorer.usage.take()
    apart = np.concatenate([scorer.score([prompt], options) for prompt in prompts])
    assert np.abs(together - apart).max() < 1e-4
    assert scorer.usage.take()["cached_tokens"] == 0
    assert shared["prompts"] == len(prompts) and shared["tokens"] == sum(map(len, prompts))
    assert shared["cached_tokens"] > 0.6 * shared["tokens"]


def test_mixed_lengths_are_padded_on_the_left(context: RunContext) -> None:
    scorer = open_on(context)
    prompts, options = prompts_of(context, scorer, candidates=1)
    mixed = [prompt[-length:] for prompt, length in zip(prompts, (20, 90, 7, 45), strict=False)]
    apart = np.concatenate([scorer.score([prompt], options) for prompt in mixed])
    assert np.abs(scorer.score(mixed, options) - apart).max() < 1e-4


def test_an_adapter_changes_the_scores(context: RunContext) -> None:
    scorer = open_on(context)
    pipeline = context.config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    bare = TransformersScorer(CPU, pipeline.model_copy(update={"dtype": "bfloat16"}), MODEL, None)
    assert (str(bare.model.dtype), str(scorer.model.dtype)) == ("torch.bfloat16", "torch.float32")
    prompts, options = prompts_of(context, scorer, candidates=2)
    assert np.abs(scorer.score(prompts, options) - bare.score(prompts, options)).max() > 1e-2


def test_writing_stops_at_its_limit_and_is_the_same_in_a_batch(context: RunContext) -> None:
    scorer = open_on(context)
    prompts, _ = prompts_of(context, scorer, candidates=1)
    together = scorer.generate(prompts, 12)
    assert together == [scorer.generate([prompt], 12)[0] for prompt in prompts]
    first = scorer.generate(prompts, 1)
    assert all(len(short) < len(long) for short, long in zip(first, together, strict=True))
    assert not any("<|" in text for text in together)


def test_what_a_model_asks_for_when_it_writes_is_left_out(tmp_path: Path, context: RunContext) -> None:
    """Penalties and beams would write another text than vLLM, which reads only the ends from there."""
    scorer = open_on(context)
    pipeline = context.config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    folder = penalised_model(tmp_path / "tiny-qwen2")
    penalised = TransformersScorer(CPU, pipeline, folder, ADAPTERS / "tiny-pointwise")
    prompts, _ = prompts_of(context, scorer, candidates=1)
    assert penalised.generate(prompts, 20) == scorer.generate(prompts, 20)
    ends = penalised.model.generation_config.eos_token_id
    assert ends == [scorer.tokenizer.eos_token_id]


def test_a_score_that_is_no_number_names_its_prompt() -> None:
    check_finite(np.zeros((2, 2)), ["a", "b"])
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ScoreError, match=r"prompt b: .* \(1 of 2 are not\)"):
            check_finite(np.array([[0.0, 0.0], [0.0, bad]]), ["a", "b"])


def scored_by_hand(context: RunContext, reranker: LLMReranker, ids: list[int], query: dict[str, object]) -> np.ndarray:
    """Probabilities over lettered options, from one prompt made here."""
    options = lettered([context.task.texts[id_] for id_ in ids])
    text = reranker.prompter.text({**query_fields(query), "options": options})
    prompt = reranker.prompter.encode([text])
    found: np.ndarray = np.exp(reranker.scorer.score(prompt, reranker.option_ids[: len(ids)])[0])
    return found


def parts(context: RunContext) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, object], list[int]]:
    """Two queries, their candidates, and the first one with its candidates' ids."""
    queries = context.queries().head(2)
    given = tables.read(context.config.table_path("r1", context.run))
    given = given[given["query_id"].isin(queries["query_id"])]
    first = queries.iloc[0].to_dict()
    return queries, given, first, given["label_id"][given["query_id"] == first["query_id"]].tolist()


def test_pointwise_is_the_probability_of_yes(context: RunContext) -> None:
    pipeline = context.config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    reranker = LLMReranker(CPU, pipeline, context.config, context.task.texts)
    queries, given, first, ids = parts(context)
    table, used = reranker.rerank(queries, given)
    tables.validate(table, "pointwise")
    assert used["prompts"] == len(given) == len(table)
    text = reranker.prompter.text({**query_fields(first), "candidate": context.task.texts[ids[3]]})
    alone = np.exp(reranker.scorer.score(reranker.prompter.encode([text]), reranker.option_ids)[0, 0])
    row = table[(table["query_id"] == first["query_id"]) & (table["label_id"] == ids[3])]
    assert abs(row["score"].iloc[0] - alone) < 1e-4
    assert text.rstrip().endswith(f"{context.task.texts[ids[3]]}<|im_end|>\n<|im_start|>assistant")
    reranker.pipeline = pipeline.model_copy(update={"normalise": "query"})
    shares = tables.validate(reranker.rerank(queries, given)[0], "normalised")
    both = table.merge(shares, on=["query_id", "label_id"], suffixes=("", "_share"))
    odds = both["score"].astype(float) / (1 - both["score"].astype(float))
    expected = odds / odds.groupby(both["query_id"]).transform("sum")
    np.testing.assert_allclose(both["score_share"], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_listwise_is_the_mean_over_windows(tmp_path: Path, reverse: bool) -> None:
    extra = f"window = 10\nstride = 6\nreverse = {str(reverse).lower()}\n"
    context = make_bench(tmp_path, make_config(tmp_path, LISTWISE + extra), queries=2)
    pipeline = context.config.pipeline[0]
    reranker = LLMReranker(CPU, pipeline, context.config, context.task.texts)  # type: ignore[arg-type]
    queries, given, first, ids = parts(context)
    table, used = reranker.rerank(queries, given)
    tables.validate(table, "listwise")
    spans = windows(25, 10, 6)
    assert used["prompts"] == 2 * len(spans) * (2 if reverse else 1)
    wanted: dict[int, list[float]] = {id_: [] for id_ in ids}
    for start, stop in spans:
        for order in [ids[start:stop], ids[start:stop][::-1]][: 2 if reverse else 1]:
            for id_, probability in zip(order, scored_by_hand(context, reranker, order, first), strict=True):
                wanted[id_].append(probability)
    found = table[table["query_id"] == first["query_id"]].set_index("label_id")["score"].to_dict()
    assert found.keys() == wanted.keys()
    assert all(abs(found[id_] - np.mean(values)) < 1e-4 for id_, values in wanted.items())


def test_fewer_candidates_than_the_window_are_one_prompt(tmp_path: Path) -> None:
    context = make_bench(tmp_path, make_config(tmp_path, LISTWISE + "window = 40\n"), queries=2, candidates=5)
    pipeline = context.config.pipeline[0]
    reranker = LLMReranker(CPU, pipeline, context.config, context.task.texts)  # type: ignore[arg-type]
    queries, given, _, _ = parts(context)
    table, used = reranker.rerank(queries, given)
    assert used["prompts"] == 2
    assert np.allclose(table.groupby("query_id")["score"].sum(), 1, atol=1e-5)
    alone, used = reranker.rerank(queries, given[given["rank"] == 1])
    assert used["prompts"] == 0 and (alone["score"] == 1).all()


def test_a_tournament_plays_from_the_tail_to_the_head(tmp_path: Path) -> None:
    context = make_bench(tmp_path, make_config(tmp_path, TOURNAMENT + "group = 9\n"), queries=2)
    pipeline = context.config.pipeline[0]
    reranker = LLMReranker(CPU, pipeline, context.config, context.task.texts)  # type: ignore[arg-type]
    queries, given, first, ids = parts(context)
    table, used = reranker.rerank(queries, given)
    tables.validate(table, "tournament")
    assert used["prompts"] == 2 * 3
    survivor: list[int] = []
    order: list[int] = []
    for start, stop in ((16, 25), (8, 16), (0, 8)):
        playing = ids[start:stop] + survivor
        chosen = scored_by_hand(context, reranker, playing, first)
        ranked = [playing[place] for place in np.argsort(-chosen, kind="stable")]
        survivor, order = ranked[:1], ranked[1:] + order
    found = table[table["query_id"] == first["query_id"]]
    assert found["label_id"].tolist() == survivor + order
    assert np.allclose(found["score"], 1 / found["rank"])


def test_two_processes_rerank_as_one_does_and_each_chunk_is_on_disk(tmp_path: Path) -> None:
    found = []
    for devices in (("cpu",), ("cpu", "cpu")):
        folder = tmp_path / str(len(devices))
        folder.mkdir()
        context = make_bench(folder, make_config(folder, POINTWISE, devices=devices), queries=8)
        found.append(stages.rerank(context, "p"))
        assert len(list((context.run / "ranking-p.parts").glob("*.parquet"))) == 4
        assert len(list((context.run / "logs").glob("rerank-p-*.log"))) == len(devices)
    one, two = (table.set_index(["query_id", "label_id"])["score"].sort_index() for table in found)
    assert (one - two).abs().max() < 1e-4
    labels = make_bench(tmp_path, make_config(tmp_path, POINTWISE)).task.truth
    assert labels is not None
    ranks = [metrics.ranks_of_labels(table, labels).tolist() for table in found]
    assert ranks[0] == ranks[1]


def test_a_chunk_whose_score_is_no_number_keeps_its_earlier_ranking(tmp_path: Path) -> None:
    context = make_bench(tmp_path, make_config(tmp_path, POINTWISE), queries=6)
    words = context.task.queries["question"].iloc[2]
    broken = broken_model(tmp_path / "tiny-qwen2", "@")
    test = context.task.queries.copy()
    test.loc[2, "question"] = f"{words} @"
    context = make_bench(tmp_path, make_config(tmp_path, POINTWISE.replace(str(MODEL), str(broken))), queries=6)
    object.__setattr__(context.task, "queries", test)
    table = stages.rerank(context, "p")
    lost = {query for query in test["query_id"] if query not in set(table["query_id"])}
    assert test["query_id"].iloc[2] in lost and len(lost) == 2  # its chunk
    decision = next(entry["decision"] for entry in ledger.read(context.run) if "decision" in entry)
    assert f"prompt {test['query_id'].iloc[2]}, number 1: its score is not a finite number (25 of 50" in decision
    whole = reading.candidates(context, "p")
    given = reading.candidates(context, "r1")
    kept = whole[whole["query_id"].isin(lost)].reset_index(drop=True)
    assert kept.equals(given[given["query_id"].isin(lost)].reset_index(drop=True))


def test_resuming_asks_only_what_was_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With options that the model would hardly say, which is told."""
    context = make_bench(tmp_path, make_config(tmp_path, f'{POINTWISE}options = ["0", "1"]\n'), queries=8)
    whole = stages.rerank(context, "p")
    (scored,) = (entry for entry in ledger.read(context.run) if entry["phase"] == "score")
    assert scored["option_share"]["prompts"] == 8 and 0 < scored["option_share"]["mean"] < 1e-3
    assert "shares" not in scored and not any("shares" in chunk for chunk in scored["chunks"])
    (warning,) = scored["warnings"]
    assert warning.startswith("the options have 0.0") and "(mean of 8 prompts); it prefers '" in warning
    assert capsys.readouterr().out.count("warning: rerank-p: the options have 0.0") == 1
    made = sorted((context.run / "ranking-p.parts").glob("*.parquet"))
    kept = set(tables.read(made[0])["query_id"])
    for part in made[1:]:
        part.unlink()
    again = stages.rerank(RunContext(context.config, context.task, context.run, resume=True), "p")
    entry = [entry for entry in ledger.read(context.run) if entry["phase"] == "score"][-1]
    assert entry["queries"] == 8 - len(kept) and entry["prompts"] == 25 * (8 - len(kept))
    columns = ["query_id", "label_id", "rank"]
    assert (
        again[columns]
        .sort_values(columns)
        .reset_index(drop=True)
        .equals(whole[columns].sort_values(columns).reset_index(drop=True))
    )


def test_ranks_are_taken_over_all_chunks_of_a_stage(tmp_path: Path) -> None:
    """Of the log-odds, which its chunks keep, in groups of one subject."""
    keys = 'normalise = "rank"\nby = "subject"\n'
    context = make_bench(tmp_path, make_config(tmp_path, f"{POINTWISE}{keys}"), queries=6, candidates=5)
    found = tables.validate(stages.rerank(context, "p"), "ranks")
    parts = sorted((context.run / "ranking-p.parts").glob("*.parquet"))
    odds = pd.concat([tables.read(part) for part in parts])
    subjects = context.task.queries.set_index("query_id")["subject"]
    assert len(parts) == 3 and subjects.nunique() > 1
    expected = odds.assign(share=odds["score"].groupby(odds["query_id"].map(subjects)).rank(pct=True))
    both = expected.merge(found, on=PAIR, suffixes=("_odds", ""))
    assert len(both) == len(found) == len(odds) == 30 and odds["score"].min() < 0
    np.testing.assert_allclose(both["score"], both["share"], rtol=1e-6)


def test_least_sure_queries_come_first(tmp_path: Path) -> None:
    second = POINTWISE.replace('kind = "pointwise"', 'kind = "pointwise"\nselect = { by = "p", top_n = 3 }')
    text = POINTWISE + f'\n[[pipeline]]\nname = "q"\ncandidates = "r1"\nchunk = 1\n{second}'
    context = make_bench(tmp_path, make_config(tmp_path, text), queries=6)
    earlier = stages.rerank(context, "p")
    later = stages.rerank(context, "q")
    top = earlier[earlier["rank"] <= 2].pivot(index="query_id", columns="rank", values="score")
    assert later["query_id"].unique().tolist() == (top[1] - top[2]).sort_values(kind="stable").index.tolist()
    assert (later.groupby("query_id").size() == 3).all()


def test_a_select_that_leaves_nothing_says_so(tmp_path: Path) -> None:
    second = POINTWISE.replace('kind = "pointwise"', 'kind = "pointwise"\nselect = { by = "p", min_top1 = 1.0 }')
    text = POINTWISE + f'\n[[pipeline]]\nname = "q"\ncandidates = "r1"\n{second}'
    context = make_bench(tmp_path, make_config(tmp_path, text), queries=2)
    stages.rerank(context, "p")
    with pytest.raises(StageError, match="its select leaves no query to rerank"):
        stages.rerank(context, "q")


def test_more_letters_than_the_alphabet_has_are_never_asked_for() -> None:
    assert len(set(LETTERS)) == 52
