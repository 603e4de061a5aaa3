"""The kinds of values that a config's keys hold."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cascade.base.durations import seconds
from cascade.base.errors import ModelError
from cascade.config import handles
from cascade.config.messages import no_number

# Engine arguments that follow from other keys.
OWNED = {
    "model": "set the stage's `model`",
    "dtype": "set the stage's `dtype`",
    "tokenizer": "it is read from the model's folder",
    "max_model_len": "set the stage's `max_length`",
    "enable_lora": "set the stage's `adapter`",
    "tensor_parallel_size": "set the stage's `parallel` and the run's `devices`",
    "logprobs_mode": "options are always scored by processed log-probabilities",
    "max_logprobs": "it follows from the number of options",
    "trust_remote_code": "set the stage's `trust_remote_code`",
}


def device(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"cpu|cuda:\d+", value):
        raise ValueError(f'{value!r} is not a device; write "cuda:0", "cuda:1", … or "cpu"')
    return value


def model(value: str) -> str:
    """A handle in its normal form; what is no handle is named, with the places, by whoever looks for it."""
    try:
        return handles.normal(value) if value.partition(":")[0] in handles.SCHEMES else value
    except ModelError:
        return value


def free(arguments: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments, none of which follows from another key; else ValueError."""
    for name, mend in OWNED.items():
        if name in arguments:
            raise ValueError(f"'{name}' cannot be set here; {mend}")
    return arguments


Seconds = Annotated[float, BeforeValidator(seconds)]
Limit = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Model = Annotated[str, AfterValidator(model)]
Engine = Literal["vllm", "transformers"]
Arguments = Annotated[dict[str, Any], AfterValidator(free)]
Dtype = Literal["float16", "bfloat16", "float32"]
Device = Annotated[str, BeforeValidator(device)]
# A name stands in papermill's `-p retrieval NAME`, which makes a number of what reads as one.
# Files are called by it, with a few words around it.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100), AfterValidator(no_number)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
# Far beyond any use, and far within float32, which scores are kept in.
Weight = Annotated[float, Field(ge=1e-6, le=1e6)]
PartWeight = Annotated[float, Field(ge=0, le=1e6)]
