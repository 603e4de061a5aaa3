"""The proof that vLLM takes every model's weights as the config asks: with 8-bit activations, in a part for each card.

Read are the models' own config.json and, where they are at hand, the scales of their weights.
"""

from __future__ import annotations

from collections.abc import Iterator

from cascade.models.checks import engines, int8, sharded
from cascade.models.checks.target import Target
from packer.proofs.subject import Finding, Subject
from packer.vllm.source import WheelError


def prove(bundle: Subject) -> list[Finding]:
    try:
        extract = bundle.vllm
    except WheelError:  # the proof of vLLM's names tells
        return []
    return list(_findings(bundle, engines.recorded(extract))) if extract is not None else []


def _findings(bundle: Subject, vllm: engines.Vllm) -> Iterator[Finding]:
    image = bundle.image
    target = Target(image.name, image.gpus, image.compute_capability, has_vllm=True, vllm=vllm, is_known=True)
    for config in bundle.configs:
        for stage, model in config.language_models().items():
            asked = (f"{config.path.name} → {stage}: {model.model}",)
            for look in (int8.facts, sharded.facts):
                for fact in look(stage, model, config, target):
                    if fact.ok is False:
                        yield Finding("vllm", fact.found, fact.mend, asked)
                    elif fact.ok is None:
                        yield Finding("vllm", fact.found, fact.mend, asked, "not proved")
                    elif fact.mend:
                        yield Finding("vllm", fact.mend, "", asked, "note")
