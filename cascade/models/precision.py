"""The precision that a model runs in: its config's `dtype`, else what its device is best at."""

from __future__ import annotations

from pathlib import Path

from cascade.config.parts import Encoder
from cascade.config.schema import Config, LanguageModel
from cascade.processes import gpu

BFLOAT16 = (8, 0)  # compute capability from which a card has it: a T4's is 7.5
HALF_ONLY = ("awq", "gptq")  # quantisations whose kernels in vLLM 0.19.1 take float16 alone; awq_marlin's take both


def of(model: Encoder | LanguageModel, device: str, quantization: str = "") -> str:
    """The name of torch's dtype on this machine's device; quantization: see `asked`."""
    return model.dtype or usual(model, device, gpu.gpu_capability(), quantization)


def asked(model: Encoder | LanguageModel, config: Config) -> str:
    """The `quantization` among the engine arguments of an LLM on vLLM; "" for none."""
    if config.engine != "vllm" or not isinstance(model, LanguageModel):
        return ""
    return str({**config.vllm, **model.vllm}.get("quantization", ""))


def usual(model: Encoder | LanguageModel, device: str, capability: tuple[int, ...], quantization: str = "") -> str:
    """Returns the dtype where the config names none, for cards of that capability; () where it is not known.

    On a GPU bfloat16 from capability 8.0 on, whose range is float32's, else float16. On a CPU float32 for an LLM: both
    engines are to give the same, and in bfloat16 an option's log-probability was up to 0.08 off. There an encoder has
    bfloat16 where the CPU has instructions for it: measured with MiniLM on two cores with AVX-512 BF16, 136 pairs a
    second against 60 in float32.
    """
    if device.startswith("cuda"):
        return "float16" if capability < BFLOAT16 or quantization in HALF_ONLY else "bfloat16"
    cpu = Path("/proc/cpuinfo")
    if isinstance(model, Encoder) and cpu.is_file() and "avx512_bf16" in cpu.read_text():
        return "bfloat16"
    return "float32"


def problem(dtype: str, device: str, capability: tuple[int, ...]) -> str:
    """Why a device cannot run a dtype, in one sentence; "" where it can, as far as is known."""
    if dtype == "bfloat16" and device.startswith("cuda") and () < capability < BFLOAT16:
        has = ".".join(map(str, capability))
        return f"dtype = 'bfloat16', which requires a GPU of capability 8.0 or higher, and the lowest here is {has}"
    return ""
