"""What is said of an adapter before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cascade.config.parts import Encoder
from cascade.config.schema import Config, LanguageModel
from cascade.models.adapters import adapter_path, lora_rank, name_warning
from cascade.models.checks.facts import Fact, tried


def adapter_facts(
    stage: str,
    model: Encoder | LanguageModel,
    config: Config,
    base: Path | None,
    is_here: bool,
    problems: Callable[[Path], Iterable[str]],
) -> Iterator[Fact]:
    """Checks the adapter that a model is given, if any; base: the model's folder, None where it is not at hand."""
    name = f"{stage}: adapter"

    def look() -> Iterator[Fact]:
        adapter = adapter_path(model, config)
        if adapter is None:
            return
        found = list(problems(adapter))
        if found:  # one fault often shows in every layer
            more = f" (and {len(found) - 1} more of its kind)" if len(found) > 1 else ""
            yield Fact(name, False, f"{found[0]}{more}")
        elif base is None:
            told = f"{model.adapter}: its weights are not checked, as the base model is not available here"
            yield Fact(name, None, told)
        else:
            told = f"{model.adapter}, rank {lora_rank(adapter)}: every weight has its place in {model.model}"
            yield Fact(name, True, told, name_warning(model, adapter) or "")

    return tried(name, look, is_here)
