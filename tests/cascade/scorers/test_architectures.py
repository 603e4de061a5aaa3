"""The transformers engine held to itself: prompts read together score as each does alone, whatever the model is.

Each model is made here from its transformers config: two to four tiny layers, random, float32.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from cascade.config.schema import PointwisePipeline
from cascade.processes.workers import DeviceSlot
from cascade.scorers.transformers_engine import TransformersScorer
from tests.llm import MODEL

WINDOW = 16
VOCABULARY = 320
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_expand": 2,
         "mamba_chunk_size": 8}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
LONG = {
    "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0],
        "original_max_position_embeddings": 36, "factor": 8.0,
    }
}  # fmt: skip
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, "max_position_embeddings": 36}

# What each keeps: (its type, its settings beside the small ones, whether prompts can be packed).
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "Qwen 2": ("qwen2", {}, True),
    "Qwen 2, window": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1} | SLIDING, True),
    "Qwen 3": ("qwen3", {}, True),
    "Qwen 3, experts": ("qwen3_moe", EXPERTS, True),
    "Llama": ("llama", {}, True),
    "Llama, dynamic RoPE": ("llama", DYNAMIC, True),
    "Mistral": ("mistral", {"sliding_window": WINDOW}, True),
    "Mixtral": ("mixtral", {"sliding_window": WINDOW} | EXPERTS, True),
    "Gemma": ("gemma", {}, True),
    "Gemma 2": ("gemma2", {"query_pre_attn_scalar": 8} | SLIDING, True),
    "Gemma 3": ("gemma3_text", {"query_pre_attn_scalar": 8} | SLIDING, True),
    "Phi-3": ("phi3", {"sliding_window": WINDOW}, True),
    "Phi-3, long RoPE": ("phi3", LONG, True),
    "gpt-oss": ("gpt_oss", EXPERTS | SLIDING, True),
    "OLMo 3": ("olmo3", SLIDING, True),
    "Cohere 2": ("cohere2", SLIDING, True),
    "EXAONE 4": ("exaone4", SLIDING, True),
    "SmolLM 3": ("smollm3", {}, True),
    "GLM 4": ("glm4", {"partial_rotary_factor": 0.5}, True),
    "Granite": ("granite", {}, True),
    "MPT, ALiBi": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}, False),
    "Bloom, ALiBi": ("bloom", {"n_layer": 2, "n_head": 4}, False),
    "Falcon, ALiBi": ("falcon", {"alibi": True, "head_dim": None}, False),
    "GPT-2": ("gpt2", GPT, True),
    "GPT-NeoX": ("gpt_neox", {}, True),
    "OPT": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}, True),
    "DeepSeek 3": (
        "deepseek_v3",
        {"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
         "v_head_dim": 8, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
        | EXPERTS,
        True,
    ),
    "Qwen3-Next": (
        "qwen3_next",
        {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
         "layer_types": ["linear_attention", "full_attention"], "shared_expert_intermediate_size": 16} | EXPERTS,
        False,
    ),
    "Qwen3.5": (
        "qwen3_5_text",
        {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
         "layer_types": ["linear_attention", "full_attention"]},
        False,
    ),
    "Jamba": ("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False} | EXPERTS, False),
    "LFM 2": ("lfm2", {"layer_types": ["conv", "full_attention"]}, False),
    "Mamba": ("mamba", {}, False),
    "Mamba 2": ("mamba2", {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}, False),
    "Falcon-Mamba": ("falcon_mamba", {}, False),
    "Nemotron-H": (
        "nemotron_h",
        {"mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1, "layers_block_type": ["mamba", "attention"]},
        False,
    ),
    "Falcon-H1": ("falcon_h1", {"mamba_d_ssm": 64} | MAMBA, False),
    "Bamba": ("bamba", {"attn_layer_indices": [1]} | MAMBA, False),
    "Granite 4, hybrid": (
        "granitemoehybrid", {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 16} | EXPERTS | MAMBA,
        False,
    ),
}  # fmt: skip


def made(folder: Path, kind: str, settings: dict[str, Any]) -> TransformersScorer:
    """A random model of that type, saved, opened as a stage does."""
    torch.manual_seed(0)
    given = {name: value for name, value in (SMALL | settings).items() if value is not None}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **given), dtype=torch.float32)
    for module in model.modules():  # as published they would hardly look back
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding, Conv1D)):
            torch.nn.init.normal_(module.weight, std=0.3)
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODEL / file, folder)
    pipeline = PointwisePipeline(name="p", candidates="r1", kind="pointwise", model=str(folder), prompt="p.txt")
    return TransformersScorer(DeviceSlot(("cpu",)), pipeline, folder, None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_prompts_read_together_score_as_each_does_alone(
    tmp_path: Path, architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unlike rests behind a beginning longer than the window, and unlike prompts with nothing in common."""
    kind, settings, shared = ARCHITECTURES[architecture]
    scorer = made(tmp_path, kind, settings)
    told = capsys.readouterr().out
    rng = np.random.default_rng(0)
    drawn = lambda count: rng.integers(3, VOCABULARY, count).tolist()  # noqa: E731
    beginning = drawn(28)
    prompts = [beginning + drawn(count) for count in (3, 8, 12, 1)] + [drawn(count) for count in (5, 40, 23)]
    options = [7, 8, 9, 10]
    with torch.inference_mode():
        wanted = [scorer.model(torch.tensor([p]), use_cache=False).logits[0, -1, options].softmax(-1) for p in prompts]
    found = np.exp(scorer.score(prompts, options))
    assert np.abs(found - torch.stack(wanted).numpy()).max() < 1e-3
    assert np.ptp(found[:4], axis=0).max() > 1e-2  # the prompts do differ
    stretched = scorer.alike_up_to < 40
    assert scorer.usage.take()["cached_tokens"] == (3 * 28 if shared and not stretched else 0)
    assert ("each is read whole" in told) == (not shared)
    if stretched:  # whatever was read before
        assert np.abs(np.exp(scorer.score(prompts[::-1], options))[::-1] - found).max() < 1e-3
    some = prompts[2:6]
    assert scorer.generate(some, 4) == [scorer.generate([prompt], 4)[0] for prompt in some]
