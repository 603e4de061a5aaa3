"""A checkpoint of one part for each card, before it is loaded: its files, its quantisation, where it can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.models import locate
from cascade.models.checks import engines, sharded
from cascade.models.checks.facts import Fact
from cascade.models.checks.target import Target
from cascade.run import check
from tests import nano

ASKED = {"vllm": {"load_format": "sharded_state"}}


def parts(folder: Path, *ranks: int) -> Path:
    """The nano model, its weights in parts, the first of them in two files."""
    made = nano.make_model(folder)
    (made / "model.safetensors").rename(made / "model-rank-0-part-0.safetensors")
    (made / "model-rank-0-part-1.safetensors").write_bytes(b"")
    for rank in ranks:
        (made / f"model-rank-{rank}-part-0.safetensors").write_bytes(b"")
    return made


def looked_at(folder: Path, cards: int = 2, of: engines.Vllm | None = None, **more: Any) -> dict[str, Fact]:
    reason = {"model": "qwen-nano", "prompt": "p.txt", "parallel": "tensor"} | more.pop("reason", {})
    config = nano.config(folder, **{"engine": "vllm", "reason": reason, **more})
    locate.model_path.cache_clear()
    return {fact.name: fact for fact in check.facts(config, Target("cards", cards, (7, 5), has_vllm=True, vllm=of))}


@pytest.mark.parametrize(
    ("cards", "ranks", "told"),
    [
        (2, [1], ""),
        (1, [], ""),
        (2, [], "has no model-rank-1-part-*.safetensors, the part of card 1"),
        (4, [1, 3], "has no model-rank-2-part-*.safetensors, the part of card 2"),
        (2, [1, 2, 3], "has parts for 4 cards, of 2"),
    ],
)
def test_there_is_a_part_for_each_card(tmp_path: Path, cards: int, ranks: list[int], told: str) -> None:
    made = parts(tmp_path, *ranks)
    found = looked_at(tmp_path, cards, **ASKED)["reason: load_format"]
    assert found.ok is not bool(told)
    assert found.found == (f"{made} {told}" if told else f"a part for each of {cards} cards")
    assert found.mend == (f"make it: python -m packer shard MODEL OUT --tensor-parallel-size {cards}" if told else "")


@pytest.mark.parametrize(("version", "ok"), [("0.19.1", True), ("0.32.0", False)])
def test_parts_of_another_vllm_are_refused(tmp_path: Path, version: str, ok: bool) -> None:
    made = parts(tmp_path, 1)
    (made / "sharded.json").write_text(json.dumps({"vllm": version}))
    found = looked_at(tmp_path, of=engines.Vllm("v", {"load_format": {}}, {"version": "0.19.1"}), **ASKED)
    assert found["reason: load_format"].ok is ok
    assert ok or found["reason: load_format"].found == f"{made / 'sharded.json'}: vllm is 0.32.0, and cards has 0.19.1"


def test_a_whole_model_has_no_parts(tmp_path: Path) -> None:
    nano.make_model(tmp_path)
    found = looked_at(tmp_path, reason=ASKED)["reason: load_format"]
    assert found.ok is False and "has no model-rank-0-part-*.safetensors" in found.found


def test_one_engine_for_each_card_loads_no_parts(tmp_path: Path) -> None:
    parts(tmp_path, 1)
    found = looked_at(tmp_path, reason=ASKED | {"parallel": "data"})["reason: load_format"]
    assert found.ok is False
    assert str(found).endswith(
        "load_format = 'sharded_state' is for parallel = 'tensor'; fix: set parallel = 'tensor', or remove load_format"
    )


def test_parts_are_no_model_without_their_load_format(tmp_path: Path) -> None:
    made = parts(tmp_path, 1)
    found = looked_at(tmp_path)["reason: load_format"]
    assert found.ok is False and found.found == f"{made} has a part for each of 2 cards"
    assert found.mend == "set load_format = 'sharded_state', or name the model itself"


@pytest.mark.parametrize("more", [{}, {"vllm": {"load_format": "auto"}}])
def test_of_a_model_that_is_loaded_whole_nothing_is_said(tmp_path: Path, more: dict[str, Any]) -> None:
    nano.make_model(tmp_path)
    assert "reason: load_format" not in looked_at(tmp_path, **more)


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}


@pytest.mark.parametrize(
    ("quantised", "argument", "told"),
    [
        ({}, None, ""),
        (AWQ, "awq", ""),
        (AWQ, None, "awq, whose weights vLLM packs for its kernel Marlin before"),
        (AWQ, "awq_marlin", "awq, whose weights vLLM packs for its kernel Marlin before"),
        (GPTQ, None, "gptq, whose weights vLLM packs for its kernel Marlin before"),
        (GPTQ, "gptq", "gptq, whose weights vLLM packs before"),
        ({"quant_method": "bitsandbytes"}, None, "bitsandbytes, whose"),
        ({}, "fp8", "fp8, whose"),
    ],
)
def test_what_vllm_packs_when_it_loads_cannot_be_saved_in_parts(
    tmp_path: Path, quantised: dict[str, Any], argument: str | None, told: str
) -> None:
    made = parts(tmp_path, 1)
    settings = json.loads((made / "config.json").read_text()) | {"quantization_config": quantised}
    (made / "config.json").write_text(json.dumps(settings))
    arguments = ASKED["vllm"] | ({"quantization": argument} if argument else {})
    found = looked_at(tmp_path, vllm=arguments)["reason: load_format"]
    assert found.ok is not bool(told)
    assert not told or found.found.startswith(f"{made / 'config.json'}: its quantisation is {told}")
    assert not told or found.mend == sharded.UNSHARDED


def test_an_adapter_goes_with_parts_but_its_weights_have_nothing_to_be_held_against(tmp_path: Path) -> None:
    """In parts the weights have other names and shapes. vLLM loads an adapter on top of them as of any model."""
    parts(tmp_path, 1)
    nano.make_adapter(tmp_path)
    reason = {"adapter": "nano", "adapter_base": "Qwen/Qwen-Nano"}
    found = looked_at(tmp_path, reason=reason, **ASKED)
    assert found["reason: adapter"].ok is None and "its weights are not checked" in found["reason: adapter"].found
    assert found["reason: load_format"].ok
    assert nano.check(tmp_path, nano.model(adapter="nano", adapter_base="Qwen/Qwen-Nano"), engine="vllm", **ASKED)


def test_the_other_engine_has_no_load_format(tmp_path: Path) -> None:
    parts(tmp_path, 1)
    assert "reason: load_format" not in looked_at(tmp_path, engine="transformers", reason={"parallel": "data"})
