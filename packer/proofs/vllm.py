"""The proof that every name of vLLM that cascade or a config uses is in the wheel's own source.

The source is never imported. An argument must also take the value that a config gives it, as far as the source tells.
"""

from __future__ import annotations

from packer.proofs.subject import Finding, Subject
from packer.vllm.names import misfits, problems
from packer.vllm.source import MEND, WheelError


def prove(bundle: Subject) -> list[Finding]:
    facts = bundle.wheels.get("vllm")
    configs = [config for config in bundle.configs if config.engine == "vllm" and config.language_models()]
    if facts is None:
        mend = f"add it to {bundle.image.requirements}, or verify another IMAGE"
        return [Finding("vllm", f"engine = 'vllm' in {config.path}, but vLLM has no wheel", mend) for config in configs]
    try:
        extract = bundle.vllm
    except WheelError as error:
        return [Finding("vllm", str(error), MEND)]
    assert extract is not None
    mend = f"use what vLLM {facts.version} has (python -m packer vllm-api lists it), or pin another"
    return [
        *(Finding("vllm", f"{each} is not in vLLM {facts.version}", mend) for each in problems(extract, configs)),
        *(Finding("vllm", f"{each} in vLLM {facts.version}", "correct it") for each in misfits(extract, configs)),
    ]
