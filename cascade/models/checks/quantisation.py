"""What a checkpoint's own config.json says of its quantisation, and what vLLM 0.19.1 makes of that by its source."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.base.errors import ModelError

# Of a layer's tensors those that its quantised weights are multiplied by: of GPTQ and AWQ, of compressed-tensors.
SCALES = (".scales", ".weight_scale")
# Unsigned integers as wide as a number, and the least one whose sign is set: -0 is no negative number.
SIGNED = {"F16": ("<u2", 0x8000), "BF16": ("<u2", 0x8000), "F32": ("<u4", 0x8000_0000)}
GROUPS = (-1, 32, 64, 128)  # MARLIN_SUPPORTED_GROUP_SIZES; of another, vLLM takes the quantisation's own kernel

FP8 = "float8_e4m3fn"


@dataclass(frozen=True)
class MarlinWeights:
    """Weights that the kernel Marlin multiplies.

    kind: vLLM's name of the type. group: weights of one scale, -1 for a whole row. ordered: by activations.
    """

    kind: str
    group: int
    ordered: bool = False

    def __str__(self) -> str:
        return f"{self.kind} in {f'groups of {self.group}' if self.group > 0 else 'whole rows'}"


def of(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """`quantization_config` of a config.json; empty where the weights are not quantised."""
    text = settings.get("text_config") or {}
    found = settings.get("quantization_config") or text.get("quantization_config") or {}
    return found if isinstance(found, dict) else {}


def method(quantised: Mapping[str, Any]) -> str:
    return str(quantised.get("quant_method") or "").lower()


def marlin(quantised: Mapping[str, Any], argument: str | None) -> MarlinWeights | None:
    """What Marlin multiplies of such a checkpoint; None where vLLM takes another kernel.

    argument: vLLM's `quantization`. By `override_quantization_method` of gptq_marlin.py and awq_marlin.py, and
    `CompressedTensorsConfig.get_scheme`.
    """
    name, group = method(quantised), _group(quantised)
    found = None
    if name == "gptq" and argument in (None, "marlin", "gptq_marlin") and quantised.get("desc_act") is not None:
        kinds: dict[Any, str] = {(4, True): "uint4b8", (8, True): "uint8b128"}
        kind = kinds.get((quantised.get("bits"), quantised.get("sym")))
        # Of one group there is no order.
        found = MarlinWeights(kind, group, bool(quantised["desc_act"]) and group != -1) if kind else None
    elif name == "awq" and argument in (None, "marlin", "awq_marlin"):
        is_known = quantised.get("bits") == 4 and quantised.get("zero_point") is True
        found = MarlinWeights("uint4", group) if is_known else None
    elif name == "compressed-tensors":
        found = _compressed(quantised)
    elif name == "fp8":
        return MarlinWeights(FP8, -1)  # on cards that lack FP8
    return found if found is not None and found.group in GROUPS else None


def _compressed(quantised: Mapping[str, Any]) -> MarlinWeights | None:
    """Of several groups of layers the first: a checkpoint with more is rare, and vLLM looks at each layer alone."""
    groups = quantised.get("config_groups")
    first: Mapping[str, Any] = next(iter(groups.values()), {}) if isinstance(groups, dict) else {}
    weights = first.get("weights") or {}
    if first.get("input_activations") or weights.get("type") != "int" or quantised.get("format") != "pack-quantized":
        return None
    group = -1 if weights.get("strategy") == "channel" else _group(weights)
    kinds: dict[Any, str] = {(4, True): "uint4b8", (8, True): "uint8b128", (4, False): "uint4", (8, False): "uint8"}
    kind = kinds.get((weights.get("num_bits"), weights.get("symmetric", True)))
    return MarlinWeights(kind, group, weights.get("actorder") in ("group", True)) if kind else None


def _group(told: Mapping[str, Any]) -> int:
    """None of GROUPS where it is not told."""
    group = told.get("group_size")
    return group if isinstance(group, int) else 0


def auto_round(quantised: Mapping[str, Any]) -> str:
    """The key that tells that AutoRound made the checkpoint, in whichever format; "" where none does."""
    if "autoround_version" in quantised:
        return "autoround_version"
    if method(quantised) == "auto-round":
        return "quant_method"
    return "provider" if quantised.get("provider") == "auto-round" else ""


def negative_scale(folder: Path) -> str:
    """The file and the tensor with the first negative scale of a model; "" for none. Reads nothing but the scales."""
    for path in sorted(folder.glob("*.safetensors")):
        for name, numbers, negative in _scales(path):
            if (numbers > negative).any():
                return f"{path.name}: {name}"
    return ""


def _scales(path: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    """Name, bits and the bit of the sign of each scale tensor: numpy has no bfloat16, and the sign is all we need."""
    try:
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
            for name, told in header.items():
                if name.endswith(SCALES) and told["dtype"] in SIGNED:
                    kind, negative = SIGNED[told["dtype"]]
                    start, end = told["data_offsets"]
                    file.seek(8 + size + start)
                    yield name, np.frombuffer(file.read(end - start), dtype=kind), negative
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"cannot be read: {error}", path=path, mend="fetch the model again") from error
