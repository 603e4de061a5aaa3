"""Whether a model can do with the 8-bit activations that VLLM_MARLIN_INPUT_DTYPE asks of vLLM's kernel Marlin."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.base.errors import NotHereError
from cascade.config.schema import Config, LanguageModel
from cascade.models import locate
from cascade.models.checks import quantisation
from cascade.models.checks.engines import Vllm
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.quantisation import MarlinWeights
from cascade.models.checks.target import Target

VARIABLE = "VLLM_MARLIN_INPUT_DTYPE"
FP8_CARDS = ((8, 9), (12, 0))  # get_marlin_input_dtype of vLLM 0.19.1 raises on all others
OTHER = f"use a GPTQ checkpoint (4 bits, sym, desc_act = false, group_size 32, 64 or 128), or remove {VARIABLE}"
# The kernel reads a scale as an integer without a sign, on every card (vLLM's issue 48905, open).
SIGN = "which INT8 activations turn into large positive ones, without an error"


def is_on(config: Config) -> bool:
    return config.engine == "vllm" and VARIABLE in config.environment


def facts(stage: str, model: LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    """Of a run that sets the variable; nothing of any other. Weights are looked at where they are at hand."""
    name = f"{stage}: activations"

    def look() -> Iterator[Fact]:
        if not is_on(config):
            return
        try:
            folder = locate.model_path(model.model, config.path.parent)
        except NotHereError:
            return  # which is a fact about the model
        dtype = config.environment[VARIABLE]
        quantised = quantisation.of(locate.read_json(folder / "config.json", model.model))
        where = f"{folder / 'config.json'}: quantization_config"
        if dtype == "int8" and (key := quantisation.auto_round(quantised)):
            told = f"{where}.{key}: is AutoRound's, whose scales may be negative, {SIGN}"
            yield Fact(name, False, told, OTHER)
            return
        weights = quantisation.marlin(quantised, {**config.vllm, **model.vllm}.get("quantization"))
        has_fp8 = target.capability >= FP8_CARDS[0]  # and kernels for it, so that Marlin has no part in it
        if weights is None or (has_fp8 and weights.kind == quantisation.FP8):
            told = f"the weights of {model.model} are not multiplied by Marlin"
            yield Fact(name, True, told, f"stage '{stage}': {VARIABLE} has no effect on it")
        elif dtype == "fp8":
            yield from _fp8(name, target)
        elif why := refused(weights, target.vllm):
            yield Fact(name, False, f"{where}: {why}", OTHER)
        elif tensor := quantisation.negative_scale(folder):
            yield Fact(name, False, f"{folder / tensor} has negative scales, {SIGN}", OTHER)
        else:
            yield Fact(name, True, f"{dtype}, with weights that are {weights}")

    return tried(name, look, target.is_here)


def _fp8(name: str, target: Target) -> Iterator[Fact]:
    if target.capability and target.capability not in FP8_CARDS:
        card = ".".join(map(str, target.capability))
        told = f"{VARIABLE} = 'fp8' requires compute capability 8.9 or 12.0, and {target.name} has {card}"
        yield Fact(name, False, told, f"set {VARIABLE} = 'int8', or remove it")


def refused(weights: MarlinWeights, vllm: Vllm | None) -> str:
    """Why vLLM fails with such weights and INT8 activations, as it loads or at the first prompt; "" where it does not.

    The types are those that `MarlinLinearKernel.process_weights_after_loading` asserts. With a scale for a whole row,
    `apply_gptq_marlin_linear` multiplies by None. For weights in the order of activations csrc has no kernel
    (`generate_kernels.py`: no group_blocks of 0).
    """
    known = vllm.record.get("int8_weights") if vllm is not None else None
    if vllm is not None and known and weights.kind not in known:
        return (
            f"its weights are {weights.kind}, and {vllm.name} multiplies INT8 activations by {', '.join(known)} alone"
        )
    if weights.group == -1:
        return "its group_size is -1, and INT8 activations require groups of 32, 64 or 128"
    return "its desc_act is true, for which there is no kernel with INT8 activations" if weights.ordered else ""
