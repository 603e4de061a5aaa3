"""INT8 activations: which checkpoints vLLM's kernel Marlin can take, by their own files, before any is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.models import locate
from cascade.models.checks import engines, int8, quantisation
from cascade.models.checks.facts import Fact
from cascade.models.checks.target import Target
from cascade.run import check
from tests import nano

KEPT = json.loads((ROOT / "wheels" / "vllm-0.19.1.json").read_text(encoding="utf-8"))
T4X2 = Target("two T4s", 2, (7, 5), has_vllm=True, vllm=engines.recorded(KEPT))
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
PACKED = {"type": "int", "num_bits": 4, "symmetric": True, "strategy": "group", "group_size": 128}


def packed(activations: object = None, **changed: object) -> dict[str, Any]:
    """The config of a checkpoint by llm-compressor."""
    group = {"weights": PACKED | changed, "input_activations": activations}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}


def looked_at(
    folder: Path, quantised: Mapping[str, Any], target: Target = T4X2, dtype: str = "int8", **more: Any
) -> dict[str, Fact]:
    made = folder / "qwen-nano" if (folder / "qwen-nano").is_dir() else nano.make_model(folder)
    settings = json.loads((made / "config.json").read_text()) | {"quantization_config": quantised}
    (made / "config.json").write_text(json.dumps(settings))
    reason = {"model": "qwen-nano", "prompt": "p.txt", "parallel": "tensor"}
    config = nano.config(folder, "vllm", **{"environment": {int8.VARIABLE: dtype}, "reason": reason, **more})
    locate.model_path.cache_clear()
    return {fact.name: fact for fact in check.facts(config, target)}


@pytest.mark.parametrize(
    ("quantised", "told"),
    [
        (GPTQ, "uint4b8 in groups of 128"),
        (GPTQ | {"group_size": 32}, "uint4b8 in groups of 32"),
        (packed(), "uint4b8 in groups of 128"),
    ],
)
def test_a_checkpoint_that_vllm_takes_is_told_by_its_weights(tmp_path: Path, quantised: Any, told: str) -> None:
    found = looked_at(tmp_path, quantised)["reason: activations"]
    assert found == Fact("reason: activations", True, f"int8, with weights that are {told}")


@pytest.mark.parametrize(
    ("quantised", "told"),
    [
        (AWQ, "its weights are uint4, and vLLM 0.19.1 multiplies INT8 activations by uint4b8 alone"),
        (packed(symmetric=False), "its weights are uint4, "),
        (GPTQ | {"bits": 8}, "its weights are uint8b128, "),
        ({"quant_method": "fp8"}, "its weights are float8_e4m3fn, "),
        (GPTQ | {"group_size": -1}, "its group_size is -1, "),
        (packed(strategy="channel", group_size=None), "its group_size is -1, "),
        (GPTQ | {"desc_act": True}, "its desc_act is true, "),
        (packed(actorder="group"), "its desc_act is true, "),
    ],
)
def test_a_checkpoint_with_which_vllm_would_fail_is_refused(tmp_path: Path, quantised: Any, told: str) -> None:
    found = looked_at(tmp_path, quantised)["reason: activations"]
    assert found.ok is False
    assert found.found.startswith(f"{tmp_path / 'qwen-nano' / 'config.json'}: quantization_config: {told}")
    assert found.mend == int8.OTHER


@pytest.mark.parametrize(
    ("quantised", "more"),
    [
        ({}, {}),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {}),
        (GPTQ | {"group_size": 16}, {}),
        (GPTQ | {"sym": False}, {}),
        (GPTQ, {"vllm": {"quantization": "gptq"}}),
        (AWQ, {"vllm": {"quantization": "awq"}}),
        (AWQ | {"zero_point": False}, {}),
        (packed(activations={"num_bits": 8}), {}),
        (packed(type="float"), {}),
        ("garbage", {}),
    ],
)
def test_where_marlin_has_no_part_the_variable_has_no_effect(tmp_path: Path, quantised: Any, more: Any) -> None:
    found = looked_at(tmp_path, quantised, **more)["reason: activations"]
    assert found.ok and found.found == "the weights of qwen-nano are not multiplied by Marlin"
    assert found.mend == f"stage 'reason': {int8.VARIABLE} has no effect on it"


@pytest.mark.parametrize(
    ("told", "key"),
    [
        (GPTQ | {"autoround_version": "0.12.3"}, "autoround_version"),
        ({"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq", "bits": 4}, "quant_method"),
        (GPTQ | {"provider": "auto-round"}, "provider"),
    ],
)
def test_autoround_s_checkpoints_are_refused_by_the_key_that_tells(tmp_path: Path, told: Any, key: str) -> None:
    found = looked_at(tmp_path, told)["reason: activations"]
    assert found.ok is False and found.mend == int8.OTHER
    where = tmp_path / "qwen-nano" / "config.json"
    assert found.found.startswith(f"{where}: quantization_config.{key}: is AutoRound's, whose scales may be negative")


@pytest.mark.parametrize(
    ("name", "dtype", "scales", "negative"),
    [
        ("model.layers.1.mlp.down_proj.scales", np.float16, [1.0, -0.5], True),
        ("model.layers.1.mlp.down_proj.scales", np.float32, [1.0, -0.5], True),
        ("model.layers.1.mlp.down_proj.weight_scale", np.float16, [-0.001], True),
        ("model.layers.1.mlp.down_proj.scales", np.float16, [1.0, 0.0, -0.0], False),
        ("model.layers.1.mlp.down_proj.weight", np.float16, [-1.0], False),
    ],
)
def test_negative_scales_are_found_in_the_weights(
    tmp_path: Path, name: str, dtype: Any, scales: list[float], negative: bool
) -> None:
    made = nano.make_model(tmp_path)
    save_file({name: np.array(scales, dtype)}, made / "model-2.safetensors")
    found = looked_at(tmp_path, GPTQ)["reason: activations"]
    assert found.ok is not negative
    assert not negative or found.found.startswith(f"{made / 'model-2.safetensors'}: {name} has negative scales, which")


def test_scales_in_bfloat16_have_a_sign_too(tmp_path: Path) -> None:
    header = {"a.scales": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}, "__metadata__": {"format": "pt"}}
    text = json.dumps(header).encode()
    for bits, told in (("803f003f", ""), ("803f00bf", "model.safetensors: a.scales")):
        content = len(text).to_bytes(8, "little") + text + bytes.fromhex(bits)
        (tmp_path / "model.safetensors").write_bytes(content)
        assert quantisation.negative_scale(tmp_path) == told


def test_weights_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read: .*; fetch the model again"):
        quantisation.negative_scale(tmp_path)


@pytest.mark.parametrize(("capability", "ok"), [((7, 5), False), ((8, 0), False), ((8, 9), None), ((), None)])
def test_fp8_activations_are_for_cards_that_have_them(
    tmp_path: Path, capability: tuple[int, ...], ok: bool | None
) -> None:
    found = looked_at(tmp_path, GPTQ, replace(T4X2, capability=capability), "fp8").get("reason: activations")
    assert (found.ok if found else None) is ok
    assert not found or "requires compute capability 8.9 or 12.0, and two T4s has" in found.found


def test_a_card_with_kernels_in_fp8_leaves_marlin_out(tmp_path: Path) -> None:
    found = looked_at(tmp_path, {"quant_method": "fp8"}, replace(T4X2, capability=(8, 9)))["reason: activations"]
    assert found.ok and "has no effect" in found.mend


def test_without_the_variable_nothing_is_said(tmp_path: Path) -> None:
    found = looked_at(tmp_path, AWQ, environment={})
    assert "reason: activations" not in found and "environment" not in found


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"VLLM_MARLIN_INPUT_DTYPE": "INT8"},
            "environment: VLLM_MARLIN_INPUT_DTYPE is 'INT8', but in vLLM 0.19.1 must be int8 or fp8",
        ),
        (
            {"VLLM_MARLIN_INPUTS_DTYPE": "int8"},
            "environment: vLLM 0.19.1 has no variable VLLM_MARLIN_INPUTS_DTYPE (did you mean 'VLLM_MARLIN_INPUT_DTYPE'",
        ),
    ],
)
def test_a_variable_or_value_that_vllm_lacks_is_told(tmp_path: Path, environment: Any, told: str) -> None:
    found = looked_at(tmp_path, GPTQ, environment=environment)["environment"]
    assert found.ok is False and found.found.startswith(told)


def test_a_variable_that_vllm_takes_is_told_and_another_program_s_is_left_alone(tmp_path: Path) -> None:
    environment = {int8.VARIABLE: "int8", "NCCL_P2P_DISABLE": "1"}
    found = looked_at(tmp_path, GPTQ, environment=environment)["environment"]
    assert found == Fact("environment", True, f"vLLM 0.19.1 takes {int8.VARIABLE}")
    assert "environment" not in looked_at(tmp_path, GPTQ, environment={"NCCL_P2P_DISABLE": "1"})
    installed = replace(T4X2, vllm=engines.Vllm("the installed vLLM", {}, {}))
    assert "environment" not in looked_at(tmp_path, GPTQ, installed, environment=environment)
