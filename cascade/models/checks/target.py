"""The machine that a run is checked for."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.models.checks import engines
from cascade.processes import gpu


@dataclass(frozen=True)
class Target:
    """A machine by its name: its GPUs, the least of their compute capabilities (() where none tells), and its vLLM.

    `vllm`: what is known of that one, or where it has none of the kernel's.
    `is_here`: the run begins now, on this machine, so that what is not at hand is wrong. `is_known`: its GPUs and its
    packages are known, as they are of an image.
    """

    name: str
    gpus: int
    capability: tuple[int, ...]
    has_vllm: bool
    vllm: engines.Vllm | None
    is_here: bool = False
    is_known: bool = False


def this_machine(begins: bool) -> Target:
    """Where we are; `begins`: to run now, not only to be looked at."""
    has_vllm, vllm = engines.installed() is not None, engines.known()
    return Target(
        "this machine",
        gpu.gpu_count(),
        gpu.gpu_capability(),
        has_vllm,
        vllm,
        is_here=begins,
        is_known=begins,
    )
