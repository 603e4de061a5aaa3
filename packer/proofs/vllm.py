"""Every name of vLLM that cascade or a config uses is in the wheel's own source, which is never imported."""

from __future__ import annotations

from packer import vllm_api, vllm_names
from packer.bundle import Bundle, Finding


def prove(bundle: Bundle) -> list[Finding]:
    facts = bundle.wheels.get("vllm")
    configs = [config for config in bundle.configs if config.engine == "vllm" and config.language_models()]
    if facts is None:
        mend = f"add it to {bundle.image.requirements}, or verify another IMAGE"
        return [
            Finding("vllm", f"engine = 'vllm' in {config.path}, but no wheel is vLLM's", mend) for config in configs
        ]
    try:
        extract = vllm_api.read_names(facts.path)
    except vllm_api.WheelError as error:
        return [Finding("vllm", str(error), vllm_api.MEND)]
    mend = f"use what vLLM {facts.version} has (python -m packer vllm-api lists it), or pin another"
    return [
        Finding("vllm", f"{problem} is not in vLLM {facts.version}", mend)
        for problem in vllm_names.problems(extract, configs)
    ]
