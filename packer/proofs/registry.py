"""The proofs, a module each with a `prove(bundle)` that returns what it finds; none uses a network."""

from __future__ import annotations

from collections.abc import Callable

from packer.proofs import architectures, closure, cuda, gpu_code, hashes, imports, resolution, tags, vllm, weights
from packer.proofs.subject import Finding, Subject

Proof = Callable[[Subject], list[Finding]]

# By what they prove, in the order they are reported in.
PROOFS: dict[str, Proof] = {
    "the wheels are exactly those of the lock": hashes.prove,
    "every requirement is met": closure.prove,
    "uv resolves the same from the folder alone": resolution.prove,
    "every wheel matches the image": tags.prove,
    "every import has a wheel": imports.prove,
    "one CUDA, which the driver supports": cuda.prove,
    "GPU code for the image's cards": gpu_code.prove,
    "vLLM has every name that is used": vllm.prove,
    "every model's architecture is known": architectures.prove,
    "vLLM takes every model's weights": weights.prove,
}
