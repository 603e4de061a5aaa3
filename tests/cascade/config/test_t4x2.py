"""configs/t4x2.toml: what its kernel has no second chance to find wrong."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cascade.base import runtime
from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.config.schema import Config, LanguageModel, ListwisePipeline, TournamentPipeline
from cascade.models import adapters, locate
from cascade.models.prompters import template
from cascade.models.prompts import OF_ALL, Template, lettered
from cascade.processes.workers import device_slots
from cascade.rankings.windows import rounds, windows
from cascade.scorers.vllm_engine import engine_arguments
from cascade.stages.context import RunContext
from cascade.stages.schedule import planned
from tests.eedi import FIELDS

PATH = ROOT / "configs" / "t4x2.toml"
EXTRACT = json.loads((ROOT / "wheels" / "vllm-0.19.1.json").read_text(encoding="utf-8"))
ARGUMENTS = {*EXTRACT["engine_arguments"], *EXTRACT["llm_arguments"]}
T4 = 75
# What vLLM 0.19.1's own quantization classes ask for.
CAPABILITY = {"awq": 75, "awq_marlin": 75, "gptq": 60, "gptq_marlin": 75, "bitsandbytes": 70, "fp8": 75}
# Families that vLLM 0.19.1 refuses in float16, which is all a T4 has.
NO_HALF = ("gemma-2", "gemma-3", "plamo-2", "glm-4")
NCCL = {"NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_DEBUG"}
QUERY = {name: f"the {name}" for name in (*FIELDS, *OF_ALL)}
OPTIONS = {"candidate": "the candidate", "options": lettered(["the candidate", "another"])}


def all_models(config: Config) -> dict[str, LanguageModel]:
    """Every LLM stage, enabled or not."""
    found: dict[str, LanguageModel] = {"reason": config.reason} if config.reason else {}
    return found | {p.name: p for p in config.pipeline if isinstance(p, LanguageModel)}


def dense_parts(config: Config) -> list[DensePart]:
    return [part for each in config.retrieval for part in each.retriever if isinstance(part, DensePart)]


def values(table: Any) -> Iterator[Any]:
    """What stands at the leaves of a TOML document."""
    if isinstance(table, Mapping):
        for value in table.values():
            yield from values(value)
    elif isinstance(table, list):
        for value in table:
            yield from values(value)
    else:
        yield table


CONFIG = configs.load(PATH)
MODELS = all_models(CONFIG)
HANDLES = sorted({model.model for model in MODELS.values()} | {part.model for part in dense_parts(CONFIG)})


@pytest.fixture
def context(folder: Path, tmp_path: Path) -> RunContext:
    return RunContext(CONFIG, EEDI.read(folder), tmp_path / "run")


def test_it_is_the_seventh_places_cascade(context: RunContext) -> None:
    assert CONFIG.engine == "vllm"
    assert CONFIG.devices == ["cuda:0", "cuda:1"]
    assert [stage.name for stage in planned(context)] == [
        "reason", "retrieve-r1", "retrieve-r2", "rerank-p1", "rerank-p2", "rerank-p3", "ensemble",
    ]  # fmt: skip
    p1, p2, p3 = (CONFIG.pipeline_named(name) for name in ("p1", "p2", "p3"))
    assert isinstance(p1, ListwisePipeline)
    assert (p1.candidates, windows(p1.top_k, p1.window, p1.stride)) == ("r1", [(0, 40), (20, 60)])
    assert (p2.kind, p2.candidates, p2.top_k) == ("pointwise", "r2", 70)
    assert p2.select is not None
    assert p2.select.by == "p1"
    assert isinstance(p3, TournamentPipeline)
    assert (p3.candidates, rounds(p3.top_k, p3.group)) == ("p2", [(0, 9)])
    assert all(retrieval.top_k >= 70 for retrieval in CONFIG.retrieval)
    weights = CONFIG.ensemble.weights
    assert list(weights)[:3] == ["p1", "p2", "p3"], "ties go by the first list, then the next"
    assert set(weights.values()) == {1.0}


def test_what_is_not_enabled_is_not_planned(context: RunContext) -> None:
    off = [pipeline.name for pipeline in CONFIG.pipeline if not pipeline.enabled]
    assert off == ["p4", "gemma"]
    assert not {f"rerank-{name}" for name in off} & {stage.name for stage in planned(context)}
    on = CONFIG.model_copy(update={"pipeline": [p.model_copy(update={"enabled": True}) for p in CONFIG.pipeline]})
    names = [stage.name for stage in planned(RunContext(on, context.task, context.run))]
    assert names[-3:] == ["rerank-p4", "rerank-gemma", "ensemble"]


def test_the_limits_fit_the_nine_hours_and_the_table_in_the_file(context: RunContext) -> None:
    assert CONFIG.time.limit == 9 * 3600
    limits = {stage.name: (stage.limit or 0) / 60 for stage in planned(context)}
    assert all(limits.values()), "a stage without a limit can take what the later ones need"
    assert sum(limits.values()) + 10 <= CONFIG.time.available / 60, "the installation takes minutes of its own"
    text = PATH.read_text(encoding="utf-8")
    rows = re.findall(r"^#   ([a-z][a-z0-9-]+) +(\d+) +(\d+)\b", text, re.MULTILINE)
    assert {name: float(limit) for name, limit, _ in rows} == limits
    assert all(int(expected) < int(limit) for _, limit, expected in rows)
    total = re.search(r"^# limits: ([\d+ ]+) = (\d+) min$", text, re.MULTILINE)
    assert total is not None
    assert [float(part) for part in total[1].split("+")] == list(limits.values())
    assert float(total[2]) == sum(limits.values())


def test_every_engine_argument_exists_in_the_kernels_vllm() -> None:
    assert "swap_space" not in ARGUMENTS, "an argument of older versions"
    given = {"[vllm]": CONFIG.vllm} | {name: model.vllm for name, model in MODELS.items()}
    assert {name: set(table) - ARGUMENTS for name, table in given.items() if set(table) - ARGUMENTS} == {}


@pytest.mark.parametrize("name", MODELS)
def test_the_engine_is_made_for_a_t4(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 32768}')
    model = MODELS[name]
    assert model.max_length is not None, "the model's own length leaves no room for its KV cache"
    place = device_slots(CONFIG.devices or [], together=model.parallel == "tensor")[0]
    arguments = engine_arguments(place, model, CONFIG, tmp_path, None, options=2)
    assert set(arguments) <= ARGUMENTS
    assert arguments["dtype"] == "float16"
    assert arguments["attention_backend"] == "TRITON_ATTN"
    assert arguments["disable_custom_all_reduce"] is True
    assert arguments["enforce_eager"] is True
    assert arguments["max_model_len"] <= arguments["max_num_batched_tokens"]
    assert 0.9 <= arguments["gpu_memory_utilization"] <= 0.98
    large = re.search(r"(32|72)b", model.model) is not None
    assert arguments["tensor_parallel_size"] == (2 if large else 1), "4 bits of 32B need both cards"


def test_nothing_is_bfloat16_and_what_float16_does_not_span_is_float32() -> None:
    raw = tomllib.loads(PATH.read_text(encoding="utf-8"))
    assert not [value for value in values(raw) if value in ("bfloat16", "auto")]
    sizes = {part.model.split("/")[-2]: (part.load_in_4bit, part.dtype, part.pooling) for part in dense_parts(CONFIG)}
    assert sizes == {"4b": (True, None, "lasttoken"), "0.6b": (False, "float32", "lasttoken")}


def test_every_model_that_is_on_is_a_public_one_of_kaggles() -> None:
    assert {model.model.partition(":")[0] for _, model in CONFIG.models()} == {"kaggle"}


def test_what_vllm_refuses_in_float16_is_not_enabled() -> None:
    refused = [name for name, model in MODELS.items() if any(family in model.model for family in NO_HALF)]
    assert refused == ["gemma"], "the example is still there"
    assert not set(refused) & set(CONFIG.language_models())


def test_every_quantization_is_known_and_runs_on_a_t4() -> None:
    methods = {
        name: {**CONFIG.vllm, **model.vllm}["quantization"] for name, model in MODELS.items() if "awq" in model.model
    }
    assert set(methods) == {"reason", "p1", "p2", "p3", "p4"}
    for method in methods.values():
        assert method in EXTRACT["choices"]["QuantizationMethods"]
        assert CAPABILITY[method] <= T4


def test_every_variable_of_the_environment_is_known() -> None:
    assert set(CONFIG.environment) <= {*EXTRACT["environment"], *NCCL}
    assert CONFIG.environment["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


@pytest.mark.parametrize("name", MODELS)
def test_every_prompt_shows_what_the_model_must_see(name: str) -> None:
    shown = template(MODELS[name], CONFIG).text({**QUERY, **OPTIONS})
    fields = {*FIELDS, "reason"} - ({"reason"} if name == "reason" else set())
    assert [field for field in fields if QUERY[field] not in shown] == []
    assert name == "reason" or "the candidate" in shown
    assert name == "reason" or "view" not in template(MODELS[name], CONFIG).text({**QUERY, **OPTIONS, "reason": ""})


def test_gemmas_prompt_has_no_system_message() -> None:
    roles = {
        name: [m["role"] for m in template(model, CONFIG).chat({**QUERY, **OPTIONS})] for name, model in MODELS.items()
    }
    assert roles.pop("gemma") == ["user"]
    assert all(others == ["system", "user"] for others in roles.values())


@pytest.mark.parametrize("retrieval", CONFIG.retrieval, ids=lambda retrieval: retrieval.name)
def test_a_retriever_reads_the_reason_behind_an_instruction(retrieval: configs.Retrieval) -> None:
    assert retrieval.query_text is not None
    text = Template(PATH.parent / retrieval.query_text, FIELDS)
    assert text.text(QUERY).splitlines()[-2:] == ["Wrong answer: the wrong", "A colleague's view: the reason"]
    assert text.text({**QUERY, "reason": ""}).endswith("\nWrong answer: the wrong")
    for part in retrieval.retriever:
        assert isinstance(part, DensePart)
        assert re.fullmatch(r"Instruct: [^\n]+\.\nQuery:", part.query_prompt)
        assert part.passage_prompt == "", "the instruction is on the query's side only"


def test_the_second_retrieval_reads_the_firsts_vectors_from_the_cache() -> None:
    r1, r2 = CONFIG.retrieval
    assert r1.query_text == r2.query_text
    assert r1.retriever[0] == r2.retriever[0]
    assert len(r2.retriever) == 2
    assert len({part.model for part in dense_parts(CONFIG)}) == 2


@pytest.mark.parametrize("layout", ["flat", "by kind"])
@pytest.mark.parametrize("handle", HANDLES)
def test_every_handle_is_found_as_kaggle_mounts_it(
    handle: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "INPUT", tmp_path / "input")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELS", raising=False)
    scheme, _, name = handle.partition(":")
    owner, *rest = name.split("/")
    kind = {"kaggle": "models", "dataset": "datasets"}[scheme]
    mounted = (tmp_path / "input").joinpath(*([kind, owner] if layout == "by kind" else []), *rest)
    locate.model_path.cache_clear()
    with pytest.raises(ModelError, match="not found"):
        locate.model_path(handle, PATH.parent)
    mounted.mkdir(parents=True)
    (mounted / "config.json").write_text("{}")
    assert locate.model_path(handle, PATH.parent) == mounted
    locate.model_path.cache_clear()


@pytest.mark.parametrize(
    ("trained_on", "stage"),
    [
        ("Qwen/Qwen2.5-14B-Instruct-AWQ", "reason"),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "p1"),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "p2"),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "p3"),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "p4"),
        ("google/gemma-2-9b-it", "gemma"),
    ],
)
def test_an_adapter_trained_on_hugging_faces_copy_fits(trained_on: str, stage: str) -> None:
    assert adapters.base_name(MODELS[stage].model) == adapters.base_name(trained_on)


def test_the_retrievers_adapters_fit_too() -> None:
    published = ("Qwen/Qwen3-Embedding-4B", "Qwen/Qwen3-Embedding-0.6B")
    assert {adapters.base_name(part.model) for part in dense_parts(CONFIG)} == set(map(adapters.base_name, published))
