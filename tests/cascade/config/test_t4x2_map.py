"""configs/t4x2-map2025.toml: the winners' run fits a T4, the plan and its own table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.competitions import registry
from cascade.config import schema as configs
from cascade.models.prompters import template
from cascade.models.prompts import lettered
from cascade.plan import profile as profiles
from cascade.plan.forecast import Forecast, forecast
from cascade.plan.workload import Planner
from cascade.processes.workers import device_slots
from cascade.scorers.vllm_engine import engine_arguments

PATH = ROOT / "configs" / "t4x2-map2025.toml"
CONFIG = configs.load(PATH)
MODELS = CONFIG.language_models()
EXTRACT = json.loads((ROOT / "wheels" / "vllm-0.19.1.json").read_text(encoding="utf-8"))
ROWS = 16_000


@pytest.fixture(scope="module")
def planned() -> Forecast:
    profile = profiles.load(ROOT / "profiles" / "t4x2.toml")
    task = registry.of(CONFIG).read(ROOT / registry.sample_of(PATH))
    return forecast(CONFIG, profile, Planner(CONFIG, task, profile, ROWS).stages(CONFIG, profile))


def test_sixteen_thousand_rows_fit_nine_hours(planned: Forecast) -> None:
    assert planned.fits and planned.seconds + planned.spread < CONFIG.time.available
    assert not any(stage.unknown for stage in planned.stages)
    names = ["retrieve-r1", "rerank-p1", "rerank-p2", "rerank-p3", "rerank-p4", "ensemble"]
    assert [stage.name for stage in planned.stages][2:] == names


def test_the_table_in_the_file_is_the_plans(planned: Forecast) -> None:
    text = PATH.read_text(encoding="utf-8")
    rows = re.findall(r"^#   ([a-z][a-z0-9-]+) +(\d+) +(\d+)\b", text, re.MULTILINE)
    told = {name: (int(limit), int(expected)) for name, limit, expected in rows}
    stages = {stage.name: stage for stage in planned.stages[2:]}
    assert set(told) == set(stages)
    for name, (limit, expected) in told.items():
        assert limit * 60 == stages[name].work.limit and abs(expected * 60 - stages[name].seconds) <= 60
    total = re.search(r"^# limits: ([\d+ ]+) = (\d+) min$", text, re.MULTILINE)
    assert total is not None and int(total[2]) == sum(map(int, total[1].split("+"))) == sum(x for x, _ in told.values())
    assert int(total[2]) + 10 <= CONFIG.time.available / 60, "the installation takes minutes of its own"


@pytest.mark.parametrize("name", MODELS)
def test_the_engine_is_made_for_a_t4(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 32768}')
    model = MODELS[name]
    place = device_slots(CONFIG.devices or [], together=model.parallel == "tensor")[0]
    arguments = engine_arguments(place, model, CONFIG, tmp_path, None, options=12)
    assert set(arguments) <= {*EXTRACT["engine_arguments"], *EXTRACT["llm_arguments"]}
    assert (arguments["dtype"], arguments["attention_backend"]) == ("float16", "TRITON_ATTN")
    assert arguments["quantization"] in EXTRACT["choices"]["QuantizationMethods"]
    assert arguments["max_model_len"] <= arguments["max_num_batched_tokens"]
    large = re.search(r"(32|72)b", model.model) is not None
    assert arguments["tensor_parallel_size"] == (2 if large else 1), "4 bits of 32B need both cards"


@pytest.mark.parametrize("name", MODELS)
def test_every_prompt_shows_the_row_and_the_labels(name: str) -> None:
    fields = {field: f"the {field}" for field in ("question", "answer", "explanation")}
    options = {"candidate": "wrong answer, one", "options": lettered(["wrong answer, one", "another"])}
    shown = template(MODELS[name], CONFIG).text({**fields, "question_id": "7", **options})
    assert all(value in shown for value in fields.values()) and "wrong answer, one" in shown


def test_a_prompt_lists_all_labels_that_a_question_can_have() -> None:
    assert CONFIG.retrieval[0].top_k >= 12
    assert all(getattr(p, "window", p.top_k) == p.top_k for p in CONFIG.pipeline)
