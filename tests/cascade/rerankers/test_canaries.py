"""Canaries: what makes a model score otherwise is red, wherever it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from cascade.base import ledger
from cascade.base.errors import CascadeError, ConfigError, ModelError, ScoreError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config, LLMPipeline
from cascade.processes.workers import DeviceSlot
from cascade.rerankers import canaries
from cascade.rerankers.llm import LLMReranker
from cascade.run import check_prompts
from cascade.stages import stages
from packer.canaries import make
from tests.llm import ADAPTERS, LISTWISE, MODEL, POINTWISE, make_bench, make_config

CPU = DeviceSlot(("cpu",))
SAMPLE = ROOT / "sample"
PIPELINES = {"pointwise": POINTWISE, "listwise": LISTWISE, "tournament": LISTWISE.replace('"listwise"', '"tournament"')}


def written(config: Config, original: str | None = None) -> Path:
    (path,) = make(config, SAMPLE, [], "cpu", "float32", original)
    return path


def opened(config: Config) -> tuple[LLMReranker, LLMPipeline]:
    (pipeline,) = config.pipeline
    assert isinstance(pipeline, LLMPipeline)
    return LLMReranker(CPU, pipeline, config, {}), pipeline


def proved(config: Config) -> dict[str, Any]:
    """What a process that loads the config's model finds."""
    reranker, pipeline = opened(config)
    reranker.prove(config, canaries.path_of(pipeline, config))
    return reranker.scorer.usage.take()["canaries"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A pointwise stage whose canaries are made."""
    made = make_config(tmp_path_factory.mktemp("made"), POINTWISE)
    written(made)
    return made


def said_before(config: Config) -> bool | None:
    """What the check before a run finds of the canaries."""
    (fact,) = (fact for fact in check_prompts.facts(config, None) if fact.name.endswith("canaries"))
    return fact.ok


def moved(config: Config, folder: Path, *edits: tuple[str, str]) -> Config:
    """The config and its canaries in another folder, with words of the config replaced."""
    shutil.copytree(config.path.parent, folder, dirs_exist_ok=True)
    path = folder / config.path.name
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return configs.load(path)


def damaged(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A copy of the tiny model with other weights."""
    shutil.copytree(MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def scale(weights: dict[str, torch.Tensor]) -> None:
    """One layer whose scale a quantiser wrote down wrongly."""
    weights["model.layers.1.mlp.down_proj.weight"] *= 4


def overflow(weights: dict[str, torch.Tensor]) -> None:
    """The same function in float32; in float16 the values between both are past 65,504."""
    weights["model.layers.1.mlp.up_proj.weight"] *= 2.0**14
    weights["model.layers.1.mlp.down_proj.weight"] /= 2.0**14


@pytest.mark.parametrize("kind", PIPELINES)
def test_the_model_itself_has_its_canaries_scores(kind: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, PIPELINES[kind])
    path = written(config)
    assert path == tmp_path / "canaries" / "llm" / "p.json"
    found = canaries.read(path)
    lengths = {row["query_id"]: len(row["text"]) for row in EEDI.read(SAMPLE).train.to_dict("records")}
    assert len(found["queries"]) == canaries.QUERIES
    assert max(lengths.values()) == lengths[found["queries"][-1]["query_id"]]
    assert found["model"] == str(MODEL) and found["engine"].startswith("transformers, float32")
    drift = proved(config)
    assert drift["prompts"] == 16 * (4 if kind == "pointwise" else 1)
    assert drift["largest"] < 1e-4 and drift["ranks"] > 0.999


def test_a_stage_says_how_far_its_model_is_from_them(config: Config, tmp_path: Path) -> None:
    context = make_bench(tmp_path, moved(config, tmp_path), queries=4)
    stages.rerank(context, "p")
    (entry,) = (entry for entry in ledger.read(context.run) if entry["phase"] == "score")
    (proved,) = entry["canaries"]
    assert proved["mean"] < 1e-4 and proved["prompts"] == 64
    assert entry["prompts"] == 100 and not entry["warnings"], "canaries are no prompts of the run"
    assert entry["option_share"]["prompts"] == 8, "which are the canaries'"


def test_a_fold_is_not_held_to_the_canaries_of_the_configs_adapters(config: Config, tmp_path: Path) -> None:
    found = moved(config, tmp_path)
    path = tmp_path / "canaries" / "llm" / "p.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"adapter": "0" * 64}), encoding="utf-8")
    context = make_bench(tmp_path, found, queries=2)
    with pytest.raises(ModelError, match="other weights of adapter"):
        stages.rerank(context, "p")
    stages.rerank(replace(context, proves=False), "p")


def test_a_quantised_copy_with_a_wrong_scale(tmp_path: Path) -> None:
    copy = damaged(tmp_path / "tiny-qwen2", scale)
    config = make_config(tmp_path, POINTWISE.replace(str(MODEL), str(copy)))
    written(config, original=str(MODEL))
    with pytest.raises(
        ModelError, match=r"its scores are not those of .*p\.json, made by .*canary_bound is 0\.5.*adapter"
    ):
        proved(config)
    assert proved(moved(config, tmp_path / "b", ('candidates = "r1"', 'candidates = "r1"\ncanary_bound = 99')))


def test_float16_that_overflows(config: Config, tmp_path: Path) -> None:
    copy = damaged(tmp_path / "tiny-qwen2", overflow)
    inside = moved(config, tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "canaries")
    edits = (f'"{MODEL}"', f'"{copy}"')
    inside = moved(inside, tmp_path / "b", edits)
    written(inside)
    assert proved(inside)["largest"] < 1e-4, "in float32 it is the same function"
    with pytest.raises(ScoreError, match="not a finite number"):
        proved(moved(inside, tmp_path / "c", ('candidates = "r1"', 'candidates = "r1"\ndtype = "float16"')))
    whole = moved(config, tmp_path / "d", ('candidates = "r1"', 'candidates = "r1"\ndtype = "float16"'))
    assert 0 < proved(whole)["mean"] < 0.1, "what float16 itself changes"


def test_an_adapter_left_out_and_one_applied_twice(config: Config, tmp_path: Path) -> None:
    without, pipeline = opened(moved(config, tmp_path / "a", ('adapter = "tiny-pointwise"', "")))
    found = canaries.read(canaries.path_of(pipeline, config))
    asked = config.pipeline[0]
    assert isinstance(asked, LLMPipeline)
    assert canaries.drift(asked, found, without.answer).mean > asked.canary_bound

    merged = tmp_path / "merged"
    shutil.copytree(MODEL, merged)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    PeftModel.from_pretrained(base, ADAPTERS / "tiny-pointwise").merge_and_unload().save_pretrained(merged)
    twice = moved(config, tmp_path / "b", (f'"{MODEL}"', f'"{merged}"'))
    path = canaries.path_of(pipeline, twice)
    path.write_text(path.read_text(encoding="utf-8").replace(str(MODEL), str(merged)), encoding="utf-8")
    with pytest.raises(ModelError, match="its scores are not those of"):
        proved(twice)


def test_the_rerun_goes_on_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = damaged(tmp_path / "tiny-qwen2", scale)
    config = make_config(tmp_path, POINTWISE.replace(str(MODEL), str(copy)))
    written(config, original=str(MODEL))
    context = make_bench(tmp_path, config, queries=4)
    with pytest.raises(ModelError, match="its scores are not those of"):
        stages.rerank(context, "p")
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    assert stages.rerank(context, "p")["query_id"].nunique() == 4
    entry = [entry for entry in ledger.read(context.run) if entry["phase"] == "score"][-1]
    (warning,) = entry["warnings"]
    assert "its scores are not those of" in warning and entry["canaries"] == [{"warning": warning}]


def template_edited(folder: Path) -> tuple[str, str]:
    path = ROOT / "configs" / "prompts" / "pointwise.txt"
    text = path.read_text(encoding="utf-8")
    (folder / "other.txt").write_text(text.replace("misconception", "mistake"), encoding="utf-8")
    return str(path), str(folder / "other.txt")


def chat_template_edited(folder: Path) -> tuple[str, str]:
    copy = folder / "tiny-qwen2"
    shutil.copytree(MODEL, copy)
    path = copy / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<|im_end|>", "<|im_end|>\n"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    return str(MODEL), str(copy)


def adapter_trained_anew(folder: Path) -> tuple[str, str]:
    shutil.copytree(ADAPTERS / "tiny-pointwise", folder / "adapters" / "tiny-pointwise")
    path = folder / "adapters" / "tiny-pointwise" / "adapter_model.safetensors"
    save_file({name: 2 * value for name, value in load_file(path).items()}, path, {"format": "pt"})
    return str(ADAPTERS), str(folder / "adapters")


def model_changed(folder: Path) -> tuple[str, str]:
    shutil.copytree(MODEL, folder / "tiny-qwen2")
    return str(MODEL), str(folder / "tiny-qwen2")


CHANGES = {
    template_edited: "was made with another text of .*other.txt",
    adapter_trained_anew: "was made with other weights of adapter 'tiny-pointwise'",
    model_changed: "was made with another model .*tiny-qwen2",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_canaries_of_something_else_are_refused(
    change: Callable[[Path], tuple[str, str]], config: Config, tmp_path: Path
) -> None:
    found = moved(config, tmp_path / "a", change(tmp_path))
    with pytest.raises(ModelError, match=CHANGES[change] + r".*make the canaries again: make canaries CONFIG="):
        proved(found)
    assert said_before(found) is False


def test_another_chat_template_is_found_by_the_prompts_themselves(config: Config, tmp_path: Path) -> None:
    old, new = chat_template_edited(tmp_path)
    found = moved(config, tmp_path / "a", (f'"{old}"', f'"{new}"'))
    path = canaries.path_of(found.pipeline[0], found)  # type: ignore[arg-type]
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match="other token ids of the same prompts: the tokenizer, its chat template"):
        proved(found)


def cut(text: str) -> str:
    return text[: len(text) // 2]


def with_nan(text: str) -> str:
    found = json.loads(text)
    found["scores"][3][0][0] = float("nan")
    return json.dumps(found)


def without_a_key(text: str) -> str:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "adapter"})


def with_a_query_without_candidates(text: str) -> str:
    found = json.loads(text)
    del found["queries"][2]["candidates"]
    return json.dumps(found)


def with_a_prompt_less(text: str) -> str:
    found = json.loads(text)
    return json.dumps(found | {"prompts": found["prompts"][1:]})


@pytest.mark.parametrize(
    "damage", [cut, with_nan, without_a_key, with_a_query_without_candidates, with_a_prompt_less, lambda text: "[]"]
)
def test_a_file_that_is_none(damage: Callable[[str], str], config: Config, tmp_path: Path) -> None:
    found = moved(config, tmp_path)
    path = tmp_path / "canaries" / "llm" / "p.json"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ModelError) as error:
        proved(found)
    assert error.value.path == path and "make them again" in str(error.value)


def test_what_cannot_be_made(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no enabled LLM pipeline is called 'q'; use one of p"):
        list(make(config, SAMPLE, ["q"], "cpu", "float32", None))
    task = EEDI.read(SAMPLE)
    _, pipeline = opened(config)
    with pytest.raises(CascadeError, match="no labelled query"):
        canaries.chosen(pipeline, replace(task, train=task.train.head(0)))
    assert proved(make_config(tmp_path, POINTWISE)) == {}, "where there are none nothing is asked"
    assert said_before(make_config(tmp_path, POINTWISE)) is None


def test_drift_is_the_largest_change_of_an_option_against_another() -> None:
    def log_softmax(values: list[list[float]]) -> np.ndarray:
        rows = np.array(values)
        return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))

    wanted = [log_softmax([[0.0, 1.0], [2.0, 0.0]]), log_softmax([[0.0, 0.0, 3.0]])]
    found = [log_softmax([[0.5, 1.0], [2.0, 0.0]]), log_softmax([[0.0, -1.0, 3.0]])]
    drift = canaries.compared(wanted, found)
    assert drift.prompts == 3 and drift.mean == pytest.approx(0.5) and drift.largest == pytest.approx(1.0)
    assert drift.ranks == 1.0
    assert canaries.compared(wanted, [np.full_like(each, -1.0) for each in wanted]).ranks == 0.0


@pytest.mark.parametrize(
    ("kind", "edit", "said"),
    [
        ("pointwise", 'options = ["No", "Yes"]', r"options = \['Yes', 'No'\], and it is \['No', 'Yes'\]"),
        ("listwise", "window = 9", "window = 40, and it is 9"),
        ("listwise", "reverse = true", "reverse = False, and it is True"),
        ("tournament", "group = 5", "group = .*, and it is 5"),
    ],
)
def test_a_key_that_makes_other_questions_is_named(kind: str, edit: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = make_config(tmp_path / "a", PIPELINES[kind])
    written(made)
    found = moved(made, tmp_path / "b", ('candidates = "r1"', f'candidates = "r1"\n{edit}'))
    with pytest.raises(ModelError, match=f"was made with {said}.*make canaries"):
        proved(found)
    assert said_before(found) is False


def test_a_row_of_scores_that_is_missing_is_no_error_of_another_kind(config: Config, tmp_path: Path) -> None:
    found = moved(config, tmp_path)
    path = tmp_path / "canaries" / "llm" / "p.json"
    held = json.loads(path.read_text(encoding="utf-8"))
    held["scores"][0].pop()
    path.write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(ModelError, match="not a number for each option of each prompt; make them again"):
        proved(found)


@pytest.mark.parametrize(
    ("device", "dtype", "said"),
    [
        ("gpu", "float32", "--device: is 'gpu'; use cpu or cuda:0"),
        ("CPU", "float32", "--device: is 'CPU'"),
        ("cuda:9", "float32", "cuda:9 not found on this machine"),
        ("cpu", "fp32", "--dtype: is 'fp32'; use float32, bfloat16 or float16"),
    ],
)
def test_a_device_or_a_dtype_that_there_is_not(device: str, dtype: str, said: str, config: Config) -> None:
    with pytest.raises(CascadeError, match=said):
        list(make(config, SAMPLE, [], device, dtype, None))


def test_a_place_that_is_taken_is_found_before_the_model_runs(tmp_path: Path) -> None:
    config = make_config(tmp_path, POINTWISE)
    (tmp_path / "canaries" / "llm" / "p.json").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is no file; move it away"):
        written(config)
    assert said_before(config) is False
    shutil.rmtree(tmp_path / "canaries")
    (tmp_path / "canaries").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no folder can be made there.*; move what is there"):
        written(config)
    assert (tmp_path / "canaries").read_text(encoding="utf-8") == "mine"


def test_a_stage_with_nothing_to_choose_has_none(tmp_path: Path) -> None:
    config = make_config(tmp_path, LISTWISE + "top_k = 1\n")
    with pytest.raises(ModelError, match="stage 'p': asks nothing that has two answers"):
        written(config)
    assert not (tmp_path / "canaries" / "llm" / "p.json").exists() and said_before(config) is None
