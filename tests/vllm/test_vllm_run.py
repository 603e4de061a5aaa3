"""Whole runs on the vLLM engine, and its names held to the kernel's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.shard import shard
from packer.vllm import api, names
from tests.llm import MODEL, run_sample_llm

ADAPTERS = ROOT / "sample" / "adapters"


def test_the_installed_vllm_has_every_name_that_is_used() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    every = [configs.load(path) for path in sorted((ROOT / "configs").glob("*.toml"))]
    extract = api.read_package(Path(spec.origin).parent)
    assert names.problems(extract, every) == names.misfits(extract, every) == []


def test_the_sample_runs_whole_on_vllm(tmp_path: Path) -> None:
    scored = run_sample_llm(tmp_path, "vllm")
    # A query's candidates share their prompts' beginning; so do all queries the instruction.
    assert scored["rerank-point"]["cached_tokens"] > 0.5 * scored["rerank-point"]["tokens"]
    assert scored["reason"]["cached_tokens"] > 0


def test_parts_that_vllm_has_saved_are_loaded_again_with_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one rank, in this process. The CPU build takes linear weights away once packed: here it is kept from that."""
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    out = tmp_path / "parts"
    with pytest.raises(ModelError, match="has saved parts that are less than the model, without an error"):
        shard(MODEL, out, 1, "float32")
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as kept:
        kept.setattr("vllm._custom_ops._supports_onednn", False)
        (part,) = shard(MODEL, out, 1, "float32")
    assert part.name == "model-rank-0-part-0.safetensors"
    for adapter in (None, ADAPTERS / "tiny-pointwise"):
        whole, again = (scores(folder, adapter, load) for folder, load in ((MODEL, "auto"), (out, "sharded_state")))
        assert again == pytest.approx(whole, abs=1e-5)


def scores(folder: Path, adapter: Path | None, load_format: str) -> list[float]:
    """The log-probabilities of five tokens after each of two prompts."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    engine = LLM(
        model=str(folder), dtype="float32", load_format=load_format, enforce_eager=True, max_model_len=64,
        enable_lora=adapter is not None,
    )  # fmt: skip
    outputs = engine.generate(
        [{"prompt_token_ids": prompt} for prompt in ([5, 6, 7, 8, 9], [10, 11])],
        SamplingParams(temperature=0.0, max_tokens=1, logprobs=5, allowed_token_ids=[20, 21, 22, 23, 24]),
        use_tqdm=False,
        lora_request=LoRARequest(adapter.name, 1, str(adapter)) if adapter else None,
    )
    firsts = [output.outputs[0].logprobs[0] for output in outputs]
    return [first[token].logprob for first in firsts for token in range(20, 25)]
