"""Whether what a model is to run on has its precision."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from cascade.base.errors import NotHereError
from cascade.config.parts import EmbeddingModel, Encoder
from cascade.config.schema import Config, LanguageModel
from cascade.models import locate, placement, precision
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.target import Target

QUANTISER = "bitsandbytes"
FOUR_BITS = f"run: python -m pip install --constraint constraints.txt {QUANTISER}, or leave out load_in_4bit"
FLOAT32 = "set dtype = 'float32' or 'bfloat16', or use another model"


def facts(stage: str, model: Encoder | LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    """Checks the precision of one model: a key of its config, or what follows without it."""
    name = f"{stage}: dtype"

    def look() -> Iterator[Fact]:
        try:
            device = placement.devices_of(config, target.gpus)[0][0]
        except NotHereError:
            return  # which is told of the devices
        dtype = model.dtype or precision.usual(model, device, target.capability, precision.asked(model, config))
        if why := precision.problem(dtype, device, target.capability):
            yield Fact(name, False, why, "set dtype = 'float16', or leave it out")
        elif (
            target.is_here and isinstance(model, EmbeddingModel) and model.load_in_4bit and find_spec(QUANTISER) is None
        ):
            yield Fact(name, False, f"4-bit weights require {QUANTISER}, which is not installed", FOUR_BITS)
        elif why := _refused(model, dtype, config, target):
            yield Fact(name, False, why, FLOAT32)
        else:
            yield Fact(name, True, f"{dtype} on {device}")

    return tried(name, look, target.is_here)


def _refused(model: Encoder | LanguageModel, dtype: str, config: Config, target: Target) -> str:
    """Why the vLLM that is known refuses the model in that precision; "" where it does not."""
    if config.engine != "vllm" or not isinstance(model, LanguageModel) or not target.vllm or dtype != "float16":
        return ""
    try:
        folder = locate.model_path(model.model, config.path.parent)
    except NotHereError:
        return ""
    kind = locate.read_json(folder / "config.json", model.model).get("model_type")
    refused = target.vllm.record.get("choices", {}).get("_FLOAT16_NOT_SUPPORTED_MODELS", [])
    return f"{target.vllm.name} rejects model_type '{kind}' in float16" if kind in refused else ""
