"""Counting tokens without transformers, whose import takes longer than the whole plan.

What `cascade.prompts.Prompter` asks of a tokenizer, on a model's own tokenizer.json; and where the model's folder is
not at hand, pieces of text as long as a token is on average.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cascade.base.errors import ModelError
from cascade.config.schema import Config
from cascade.models import locate

FILE = "tokenizer.json"
CHAT = "chat_template.jinja"
SPECIAL = 2  # tokens around a text that an encoder reads, such as [CLS] and [SEP]
# ChatML, as Qwen's, stands for the chat template of a model that is not at hand.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that prompts are made with, and `count`: tokens of each text."""

    chat_template: str

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]: ...

    def decode(self, ids: Sequence[Any], skip_special_tokens: bool = True) -> str: ...

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **arguments: Any) -> str: ...

    def count(self, texts: Sequence[str]) -> list[int]: ...


class Chat:
    """A chat template, filled as transformers fills it."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        self.chat_template = template
        self.special_tokens = special_tokens
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.globals["raise_exception"] = _refuse
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        self._template = environment.from_string(template)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        **arguments: Any,
    ) -> str:
        """The chat as text; one that is continued ends where the last message's content does."""
        given = {**self.special_tokens, **arguments, "add_generation_prompt": add_generation_prompt}
        text = self._template.render(messages=messages, **given)
        if continue_final_message:
            last = messages[-1]["content"].strip()
            text = text[: text.rindex(last) + len(last)]
        return text


def _refuse(message: str) -> str:
    raise TemplateError(message)


class FileTokenizer(Chat):
    """A tokenizer read from a model's tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        import tokenizers

        settings = locate.read_json(folder / "tokenizer_config.json", folder.name)
        chat = folder / CHAT
        template = chat.read_text(encoding="utf-8") if chat.is_file() else str(settings.get("chat_template") or "")
        named = {name: settings.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        special = {name: str(token.get("content", "") if isinstance(token, dict) else token or "")
                   for name, token in named.items()}  # fmt: skip
        super().__init__(template, special)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the package raises no narrower one
            raise ModelError(f"cannot be read: {error}", path=folder / FILE, mend="fetch the model again") from error
        self.added_tokens_decoder = self._tokenizer.get_added_tokens_decoder()
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]:
        """`input_ids` of one text, or of each of several."""
        if isinstance(texts, str):
            return {"input_ids": self._tokenizer.encode(texts, add_special_tokens=add_special_tokens).ids}
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [each.ids for each in encoded]}

    def decode(self, ids: Sequence[Any], skip_special_tokens: bool = True) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones included."""
        return [len(ids) for ids in self(texts)["input_ids"]]


class PiecesTokenizer(Chat):
    """Every so many characters of a text stand for one token."""

    def __init__(self, characters_per_token: float) -> None:
        super().__init__(CHATML, {})
        self.characters_per_token = characters_per_token

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": self._pieces(texts)}
        return {"input_ids": [self._pieces(text) for text in texts]}

    def _pieces(self, text: str) -> list[str]:
        size = self.characters_per_token
        edges = [round(number * size) for number in range(int(len(text) / size) + 2)]
        return [text[start:stop] for start, stop in itertools.pairwise(edges) if start < len(text)]

    def decode(self, ids: Sequence[Any], skip_special_tokens: bool = True) -> str:
        return "".join(ids)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [round(len(text) / self.characters_per_token) + SPECIAL for text in texts]


def open_tokenizer(model: str, config: Config, characters_per_token: float) -> tuple[Tokenizer, Path | None]:
    """The model's own tokenizer and its folder; pieces and None where either is not at hand."""
    try:
        folder = locate.model_path(model, config.path.parent)
        return FileTokenizer(folder), folder
    except ModelError:
        return PiecesTokenizer(characters_per_token), None
