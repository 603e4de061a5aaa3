"""What an LLM stage's config says of its prompts: the template, the answers it may give, the room for both.

Rerankers, reasoning stage, plan, check and pictures all make their prompts here. Light: no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cascade.competitions import registry
from cascade.config.schema import Config, LanguageModel, ListwisePipeline, PointwisePipeline, Reason, TournamentPipeline
from cascade.models import locate
from cascade.models.prompts import LETTERS, Prompter, Template

DEFAULT_LENGTH = 4096  # tokens, of a model whose config.json names no limit
ANSWER = 1  # token, of an option
NEEDED = {"pointwise": ["candidate"], "listwise": ["options"], "tournament": ["options"]}


def template(model: LanguageModel, config: Config) -> Template:
    """The stage's template file, checked for the fields that its kind must show."""
    fields = registry.of(config).fields
    return Template(config.path.parent / model.prompt, fields, *NEEDED.get(getattr(model, "kind", ""), []))


def answers(model: LanguageModel) -> Sequence[str]:
    """The texts of the options among which the stage's model is asked to choose; none where it writes."""
    if isinstance(model, PointwisePipeline):
        return model.options
    if isinstance(model, ListwisePipeline):
        return LETTERS[: model.window]
    return LETTERS[: model.group] if isinstance(model, TournamentPipeline) else ()


def context_length(model: LanguageModel, folder: Path | None) -> int:
    """Tokens of prompt and answer together; `folder`: the model's, where it is at hand."""
    if model.max_length is not None or folder is None:
        return model.max_length or DEFAULT_LENGTH
    settings = locate.read_json(folder / "config.json", model.model)
    return int(settings.get("text_config", settings).get("max_position_embeddings", DEFAULT_LENGTH))


def open_prompter(model: LanguageModel, config: Config, tokenizer: Any, length: int) -> Prompter:
    """The stage's prompts for a tokenizer; `length`: what the model reads and writes together, in tokens."""
    answer = model.max_tokens if isinstance(model, Reason) else ANSWER
    return Prompter(template(model, config), tokenizer, length - answer, model.chat_template)


def load_tokenizer(model: LanguageModel, folder: Path) -> Any:
    """The model's tokenizer as transformers makes it; whatever that raises."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=model.trust_remote_code)
