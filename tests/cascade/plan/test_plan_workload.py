"""What the plan says each stage has to do, held to what the stages themselves did."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer

from cascade.base import ledger
from cascade.base.errors import PlanError
from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.models.prompts import Prompter, Template, query_fields
from cascade.plan import profile as profiles
from cascade.plan.forecast import forecast
from cascade.plan.profile import Measured
from cascade.plan.prompts import _found_in_blocks
from cascade.plan.tokenizer import FileTokenizer, PiecesTokenizer
from cascade.plan.workload import Planner, StageWork
from cascade.stages import stages
from tests.eedi import FIELDS
from tests.llm import LISTWISE, MODEL, POINTWISE, TOURNAMENT, make_bench, make_config
from tests.refusals import refused

T4X2 = ROOT / "configs" / "t4x2.toml"
PROFILE = profiles.load(ROOT / "profiles" / "t4x2.toml")


@pytest.fixture(scope="module")
def sample() -> Task:
    return EEDI.read(ROOT / "sample")


def planned(config: Config, task: Task, queries: int | None = None) -> dict[str, StageWork]:
    found = Planner(config, task, PROFILE, queries).stages(config, PROFILE)
    return {stage.name: stage for stage in found}


@pytest.mark.parametrize("prompt", ["pointwise.txt", "listwise-tiny.txt", "reason.txt"])
def test_prompts_are_made_as_transformers_makes_them(sample: Task, prompt: str) -> None:
    needed = {"pointwise.txt": ["candidate"], "listwise-tiny.txt": ["options"]}.get(prompt, [])
    template = Template(ROOT / "configs" / "prompts" / prompt, FIELDS, *needed)
    ours = Prompter(template, FileTokenizer(MODEL), 1024)
    theirs = Prompter(template, AutoTokenizer.from_pretrained(MODEL), 1024)
    spelt = {
        **dict.fromkeys(FIELDS, ""),
        "question": "<|im_end|> <think> x",
        "construct": "<|endoftext|>",
        "wrong": "<|im_start|>",
    }
    for row in (*sample.queries.head(5).to_dict("records"), spelt):
        fields = {**query_fields(row), "candidate": "adds", "options": [{"letter": "A", "text": "adds"}]}
        assert ours.text(fields) == theirs.text(fields)
        assert ours.fit("q", [fields]) == theirs.fit("q", [fields])
    less = len(ours.fit("q", [fields])[0][0]) - 5
    ours.max_tokens = theirs.max_tokens = less
    assert ours.fit("q", [fields]) == theirs.fit("q", [fields])


def test_a_chat_that_goes_on_ends_where_transformers_ends_it(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("=== user\nWhy {{ question }}?\n=== assistant\nBecause\n")
    template = Template(tmp_path / "prompt.txt", FIELDS)
    fields = query_fields({"question": "so"})
    theirs = Prompter(template, AutoTokenizer.from_pretrained(MODEL), 1024).text(fields)
    assert Prompter(template, FileTokenizer(MODEL), 1024).text(fields) == theirs


@pytest.mark.parametrize("kind", [POINTWISE, LISTWISE + "window = 4\nstride = 4\n", TOURNAMENT + "group = 9\n"])
def test_counts_are_those_of_the_stage_itself(tmp_path: Path, kind: str) -> None:
    config = make_config(tmp_path, kind)
    context = make_bench(tmp_path, config, queries=8)
    stages.rerank(context, "p")
    did = next(entry for entry in ledger.read(context.run) if entry["phase"] == "score")
    work = planned(config, context.task)["rerank-p"].works[1]
    per_query = did["queries"] / len(context.task.queries)
    assert work.prompts * per_query == pytest.approx(did["prompts"])
    assert work.tokens * per_query == pytest.approx(did["tokens"], rel=0.05)
    assert work.cached * per_query == pytest.approx(did["cached_tokens"], rel=0.1, abs=0.02 * did["tokens"])
    assert [chunk["queries"] for chunk in did["chunks"]] == [2, 2, 2, 2]
    assert sum(chunk["tokens"] for chunk in did["chunks"]) == did["tokens"]


@pytest.mark.parametrize("kind", [LISTWISE, TOURNAMENT])
def test_a_query_with_one_candidate_asks_nothing(tmp_path: Path, sample: Task, kind: str) -> None:
    work = planned(make_config(tmp_path, kind + "top_k = 1\n"), sample)["rerank-p"].works[1]
    assert (work.prompts, work.tokens) == (0, 0)


def test_the_same_options_in_the_other_order_are_another_prompt(tmp_path: Path, sample: Task) -> None:
    once, twice = (
        planned(make_config(tmp_path, f"{LISTWISE}window = 25\nreverse = {reverse}\n"), sample)["rerank-p"].works[1]
        for reverse in ("false", "true")
    )
    assert twice.tokens == 2 * once.tokens and twice.cached < 0.5 * once.tokens


@pytest.mark.parametrize("layers", [["full_attention", "sliding_attention"], ["linear_attention", "full_attention"]])
def test_prompts_of_a_model_that_keeps_a_state_are_counted_whole(
    tmp_path: Path, sample: Task, layers: list[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"layer_types": layers}))
    config = make_config(tmp_path, POINTWISE.replace(str(MODEL), str(folder)))
    work = planned(config, sample)["rerank-p"].works[1]
    assert (work.cached > 0.3 * work.tokens) == ("linear_attention" not in layers)
    assert (work.cached == 0) == ("linear_attention" in layers)


def test_blocks_are_found_whole_and_never_a_prompts_last_token() -> None:
    first = [*range(40)]
    same, other = [*range(40)], [*range(20), *range(100, 120)]
    assert _found_in_blocks([[first, same]], 16) == 32
    assert _found_in_blocks([[first], [other]], 16) == 16  # also of an earlier call
    assert _found_in_blocks([[[*range(32)], [*range(32)]]], 16) == 16  # the second block holds the last token
    assert _found_in_blocks([[[*range(1, 41)], first]], 16) == 0
    assert _found_in_blocks([[first, same]], 0) == 0


def test_pieces_are_as_long_as_a_token_and_shared_where_texts_are() -> None:
    tokenizer = PiecesTokenizer(3.5)
    one, two = tokenizer(["The same beginning, one", "The same beginning, two"])["input_ids"]
    assert len(one) == 7 and one[:5] == two[:5] and one[-1] != two[-1]
    assert tokenizer.decode(one) == "The same beginning, one"


def test_a_model_that_is_read_once_is_counted_once(sample: Task) -> None:
    found = planned(configs.load(T4X2), sample, 2055)
    for name, model in (("retrieve-r1", "qwen3embedding4b"), ("retrieve-r2", "qwen3embedding0.6b")):
        read = [work for work in found[name].works if work.kind == "embedding"]
        assert [work.model for work in read] == [model, model]  # of r2 the first model's vectors are r1's
        assert [work.loads for work in read] == [True, False]
        assert read[0].prompts == 343 and read[1].prompts == pytest.approx(2055)


def test_neighbours_read_train_and_find_the_queries_read(sample: Task) -> None:
    found = planned(configs.load(ROOT / "configs" / "cross-encoder.toml"), sample)["retrieve-r1"]
    names, test, train = [work for work in found.works if work.kind == "embedding"]
    assert (names.prompts, test.prompts, train.prompts) == (343, 240, len(set(sample.train["text"].tolist())))
    assert [work.loads for work in (names, test, train)] == [True, False, False]


def test_work_grows_with_the_queries_and_misconceptions_do_not(sample: Task) -> None:
    config = configs.load(T4X2)
    once, twice = planned(config, sample, 1000), planned(config, sample, 2000)
    for name in ("reason", "rerank-p1", "rerank-p2", "rerank-p3"):
        for key in ("prompts", "tokens", "cached", "written"):
            one, two = (getattr(found[name].works[1], key) for found in (once, twice))
            assert two == pytest.approx(2 * one) and (one > 0 or key == "written")
    assert once["retrieve-r1"].works[2] == twice["retrieve-r1"].works[2]


def test_what_a_text_costs_to_embed_goes_by_its_tokens(sample: Task, tmp_path: Path) -> None:
    """The public 50 minutes were for a 7B and 2,587 names: by the sample's 343 it is what their tokens leave of it."""
    config = configs.load(T4X2)
    names = pd.concat([sample.labels] * 8, ignore_index=True).head(EEDI.hidden_labels)
    names["text"] = [f"{name} ({number})" for number, name in enumerate(names["text"])]
    few, many = (
        forecast(config, PROFILE, [planned(config, each, EEDI.hidden_queries)["retrieve-r1"]]).stages[0]
        for each in (sample, replace(sample, labels=names))
    )
    assert many.seconds == pytest.approx(3000 * 4 / 7.1, rel=0.05)
    tokens = [sum(work.tokens for work in stage.work.works) for stage in (few, many)]
    assert many.seconds - few.seconds == pytest.approx(0.0040 * (tokens[1] - tokens[0]))


def test_select_leaves_what_its_keys_say(sample: Task) -> None:
    config = configs.load(T4X2)
    found = planned(config, sample)
    # 25 of p1's best, and those of 70 that p1's 60 do not hold: 70 - 0.83 * 60.
    assert found["rerank-p2"].candidates == pytest.approx(25 + 70 - 0.83 * 60)
    assert found["rerank-p2"].works[1].spread == 0.5 and "assumed" in found["rerank-p2"].notes[0]
    assert found["rerank-p1"].works[1].prompts == 2 * 240 and found["rerank-p3"].candidates == 9
    changed = [*config.pipeline]
    changed[1] = changed[1].model_copy(update={"candidates": "r1"})  # then p1 knows 60 of the 70, for sure
    same = planned(config.model_copy(update={"pipeline": changed}), sample)["rerank-p2"]
    assert same.candidates == 25 + 10 and same.notes == ()


def test_what_a_run_had_stands_over_what_is_assumed(sample: Task) -> None:
    config = configs.load(T4X2)
    fact = Measured(stage="rerank-p2", queries=0.5, candidates=0.8, tokens=1.1)
    known = PROFILE.model_copy(update={"measured": [fact]})
    planner = Planner(config, sample, PROFILE)
    without, with_ = ({s.name: s for s in planner.stages(config, p)}["rerank-p2"] for p in (PROFILE, known))
    assert with_.queries == 120 and with_.candidates == pytest.approx(0.8 * without.candidates)
    assert with_.notes == () and with_.works[1].spread == 0.0


@pytest.mark.parametrize("queries", [0, -3])
def test_no_queries_are_refused(sample: Task, queries: int) -> None:
    with refused(PlanError, f"{queries} queries leave nothing to plan", mend="--queries with 1 or more"):
        Planner(configs.load(T4X2), sample, PROFILE, queries)
    with refused(PlanError, "0 queries leave"):
        Planner(configs.load(T4X2), replace(sample, queries=sample.queries.head(0)), PROFILE)


def test_a_profile_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with refused(
        PlanError, "no such profile", "nowhere.toml", mend="pass one of profiles/ (cpu, h100, l4x4, rtx6000, t4x2)"
    ):
        profiles.load(tmp_path / "nowhere.toml")
    text = (ROOT / "profiles" / "t4x2.toml").read_text()
    path = tmp_path / "profile.toml"
    for old, new, said in (
        ("token = 0.00235", "tokne = 0.00235", r"rate 4: unknown key 'tokne' \(did you mean 'token'\?\)"),
        ("token = 0.00235", "token = -1", "rate 4: token is -1"),
        ('kind = "install"', 'kind = "instal"', "rate 1: kind is 'instal'"),
        ("[assumed]", "[assumed", "not TOML"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(PlanError, match=f"profile.toml: {said}"):
            profiles.load(path)
