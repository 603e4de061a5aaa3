"""Prompts: a template file, filled for one query, as the token ids that a model reads.

A template is a Jinja file. Lines `=== system`, `=== user` and `=== assistant` begin the messages of a
chat, to which the tokenizer's own chat template is applied; few-shot examples are further user and
assistant messages, and a last assistant message is a beginning that the model goes on with. A
template without such lines is plain text. Fields: those of the competition's queries, `text` (what
is retrieved by), `reason` (empty where nothing was written) and `candidate` (pointwise) or `options`
(listwise and tournament: each with `letter` and `text`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cascade.base.errors import ModelError, PromptError, nearest
from cascade.models.round_trip import FIX, difference

LETTERS = string.ascii_uppercase + string.ascii_lowercase
OF_ALL = ("text", "reason")  # fields of any competition's queries
ROLES = ("system", "user", "assistant")
HEADING = re.compile(rf"^=== ({'|'.join(ROLES)})[ \t]*(?:\n|\Z)", re.MULTILINE)
ANY_HEADING = re.compile(r"^=== *(\w*)[ \t]*$", re.MULTILINE)

# Within what the data spells like a control token, so that neither chat template nor tokenizer takes it for one: a
# character that Unicode keeps out of texts.
CUT = "\ufdd0"
ANCHOR = "\n"  # a token of its own, before which a tokenizer adds its leading space, where it adds one

Fields = Mapping[str, Any]
Message = dict[str, str]
# What filling a template may raise beside jinja's own: it computes.
COMPUTED = (ArithmeticError, AttributeError, TypeError, ValueError, LookupError, RecursionError)
UNFILLED = (jinja2.TemplateError, *COMPUTED)
BLANK, PROBE = "x", "Add 1/2 and 0.25.\nWhat is the sum?"  # values for fields, to see what a prompt makes of them
# Templates come with datasets that others may have made: they fill in fields and do not reach into Python.
JINJA = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def query_fields(query: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields of one row of a query table; `reason` is empty where the table has none."""
    return {"reason": "", **query}


def lettered(texts: Sequence[str]) -> list[dict[str, str]]:
    """The field `options` for at most 52 texts."""
    return [{"letter": letter, "text": text} for letter, text in zip(LETTERS, texts, strict=False)]


class Template:
    """One template file. fields: the competition's, of which the first is cut where a prompt is too long.

    needed: the fields beside a query's own that it may, and must, use.
    """

    def __init__(self, path: Path, fields: Sequence[str], *needed: str) -> None:
        self.path, self.cut = path, fields[0]
        known = (*fields, *OF_ALL, *needed)
        self.names = (*fields, *OF_ALL, "candidate")
        if not path.is_file():
            raise PromptError("no such prompt template", path=path, mend="correct the config's `prompt`")
        source = path.read_text(encoding="utf-8-sig")
        for heading in ANY_HEADING.finditer(source):
            if not HEADING.match(source, heading.start()):
                number = source.count("\n", 0, heading.start()) + 1
                raise PromptError(
                    f"'{heading[0]}' is not the heading of a message{nearest(heading[1], ROLES)}",
                    path=path,
                    key=f"line {number}",
                    mend=f"write '=== ' and one of {', '.join(ROLES)}",
                )
        pieces = HEADING.split(source)
        if len(pieces) > 1 and pieces[0].strip():
            raise PromptError("there is text before the first '=== ' heading", path=path, mend="put it under a heading")
        line = 0  # above what is parsed
        try:
            used = jinja2.meta.find_undeclared_variables(JINJA.parse(source))
            self.plain = JINJA.from_string(source.rstrip("\n")) if len(pieces) == 1 else None
            self.messages: list[tuple[str, jinja2.Template]] = []
            for heading, text in zip(HEADING.finditer(source), pieces[2::2], strict=True):
                line = source.count("\n", 0, heading.end())
                line += len(text) - len(text.lstrip("\n"))
                self.messages.append((heading[1], JINJA.from_string(text.strip("\n"))))
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(
                error.message or "invalid",
                path=path,
                key=f"line {line + error.lineno}",
                mend="correct the template",
            ) from error
        for name in sorted(used - {*known}):
            raise PromptError(f"field '{name}' is unknown", path=path, mend=f"use {', '.join(known)}")
        for name in needed:
            if name not in used:
                raise PromptError(
                    f"does not use the field '{name}', so the model would not see it", path=path, mend="add the field"
                )

    def everywhere(self, value: str) -> Fields:
        """Returns all fields that a template may use, each with this `value`."""
        return {**dict.fromkeys(self.names, value), "options": lettered([value])}

    def text(self, fields: Fields) -> str:
        """A plain template, filled; of a chat, its messages' contents."""
        if self.plain is not None:
            return self._fill(self.plain, fields)
        return "\n".join(message["content"] for message in self.chat(fields))

    def chat(self, fields: Fields) -> list[Message]:
        """The messages, filled; empty for a plain template."""
        return [{"role": role, "content": self._fill(text, fields).strip("\n")} for role, text in self.messages]

    def _fill(self, text: jinja2.Template, fields: Fields) -> str:
        try:
            return text.render(fields)
        except jinja2.TemplateError as error:
            raise PromptError(error.message or "invalid", path=self.path, mend="correct the template") from error
        except COMPUTED as error:
            raise PromptError(f"cannot be filled: {error}", path=self.path, mend="correct the template") from error


def _joined_roles(messages: Sequence[Message]) -> list[Message]:
    """Neighbouring messages of one role as one."""
    joined: list[Message] = []
    for each in messages:
        if joined and joined[-1]["role"] == each["role"]:
            joined[-1] = {**each, "content": f"{joined[-1]['content']}\n\n{each['content']}"}
        else:
            joined.append(each)
    return joined


class Prompter:
    """A template together with the tokenizer that reads it.

    `max_tokens` is the longest prompt the model takes, `chat_arguments` are the chat template's own
    (`enable_thinking = false`).
    """

    def __init__(
        self, template: Template, tokenizer: Any, max_tokens: int, chat_arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.template = template
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.chat_arguments = chat_arguments or {}
        if template.plain is None and not tokenizer.chat_template:
            raise ModelError(
                "is a chat template, but the model's tokenizer has none",
                path=template.path,
                mend="use an instruct model, or a template without '=== ' headings",
            )

    def text(self, fields: Fields) -> str:
        """What the model reads, special tokens included."""
        return self._marked(fields).replace(CUT, "")

    @cached_property
    def _controls(self) -> re.Pattern[str] | None:
        """Returns what the tokenizer takes for a control token wherever it stands.

        These are the special tokens, those that the chat template writes, and those spelt `<|...|>`. Its other added
        tokens (HTML, runs of spaces) are text.
        """
        chat = str(getattr(self.tokenizer, "chat_template", None) or "")
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        controls = {
            token.content
            for token in added
            if len(token.content) > 1
            and (token.special or (token.content[0] in "<[" and (token.content in chat or "|" in token.content)))
        }
        longest_first = sorted(controls, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if controls else None

    def _as_text(self, value: Any) -> Any:
        """A field's value with a cut in all that spells a control token."""
        if isinstance(value, str):
            found = self._controls
            return found.sub(lambda match: f"{match[0][0]}{CUT}{match[0][1:]}", value) if found else value
        if isinstance(value, Mapping):
            return {name: self._as_text(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._as_text(each) for each in value]
        return value

    def _marked(self, fields: Fields) -> str:
        """What the model reads, with a `CUT` where the data spells a control token."""
        if self.template.plain is not None:
            return self.template.text(self._as_text(fields))
        messages = self._messages(fields)
        try:
            return self._chat(messages)
        except UNFILLED as error:
            raise PromptError(
                f"the model's chat template rejects it: {error}", path=self.template.path, mend=self._fix(messages)
            ) from error

    def _messages(self, fields: Fields) -> list[Message]:
        return self.template.chat(self._as_text(fields))

    def _chat(self, messages: Sequence[Message]) -> str:
        goes_on = self.template.messages[-1][0] == "assistant"
        text: str = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
            **self.chat_arguments,
        )
        return text

    def _fix(self, messages: Sequence[Message]) -> str:
        """What to do about messages that the chat template refuses: found by trying."""
        asked = [{**each, "role": "user"} if each["role"] == "system" else each for each in messages]
        for fix, others in (
            ("merge neighbouring messages of the same role", _joined_roles(messages)),
            ("move the text under '=== system' to the beginning of '=== user'", _joined_roles(asked)),
        ):
            try:
                if [each["role"] for each in others] != [each["role"] for each in messages]:
                    self._chat(others)
                    return fix
            except UNFILLED:
                continue
        if asked[0]["role"] == "assistant":
            return "begin with '=== user', and alternate '=== assistant' and '=== user'"
        return "use another model, or a template without '=== ' headings"

    def dropped(self, fields: Fields) -> list[tuple[str, str]]:
        """Role and text of each line of the messages that the chat template leaves out: the model does not see it."""
        text = self._marked(fields)
        said = [(each["role"], each["content"].split("\n")) for each in self._messages(fields)]
        return [(role, line.replace(CUT, "")) for role, lines in said for line in lines if line.strip() not in text]

    def check_tokenizer(self, fields: Fields | None = None) -> str:
        """ModelError where the tokenizer loses what a prompt says; what it changes on purpose is returned.

        `fields`: of the prompt that is looked at; default: some words and numbers.
        """
        text = self.text(self.template.everywhere(PROBE) if fields is None else fields)
        # The backend's own: transformers' takes spaces out before punctuation.
        decode = getattr(self.tokenizer, "backend_tokenizer", self.tokenizer).decode
        found = difference(text, decode(self._ids(text), skip_special_tokens=False), self.tokenizer.unk_token)
        if found is not None and found.lost:
            raise ModelError(f"the model's tokenizer changes the text: {found.said}", path=self.template.path, mend=FIX)
        return found.said if found is not None else ""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """A chat template writes its special tokens itself; plain text gets the tokenizer's own."""
        special = self.template.plain is not None
        whole = [number for number, text in enumerate(texts) if CUT not in text]
        ids: list[list[int]] = [[]] * len(texts)
        if whole:
            found = self.tokenizer([texts[number] for number in whole], add_special_tokens=special)["input_ids"]
            for number, each in zip(whole, found, strict=True):
                ids[number] = each
        return [each if CUT not in text else self._joined(text, special) for each, text in zip(ids, texts, strict=True)]

    def _joined(self, text: str, special: bool) -> list[int]:
        """Token ids of a text with cuts: of what stands before, between and after them."""
        first, *rest = text.split(CUT)
        head = self._ids(first)
        with_special: list[int] = self.tokenizer(first, add_special_tokens=special)["input_ids"]
        start = next((i for i in range(len(with_special)) if with_special[i : i + len(head)] == head), 0)
        end = with_special[start + len(head) :]
        anchor = self._ids(ANCHOR)
        ids = [*with_special[:start], *head]
        for piece in rest:
            behind = self._ids(ANCHOR + piece)
            ids += behind[len(anchor) :] if behind[: len(anchor)] == anchor else self._ids(piece)
        return ids + end

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def option_ids(self, options: Sequence[str], fields: Fields | None = None) -> list[int]:
        """The token of each option where the answer stands; PromptError for one that is not a token of its own.

        What stands before the answer decides how it is split, so options are read behind a whole prompt: that of
        `fields`, default: of next to nothing.
        """
        before = self.text(self.template.everywhere(BLANK) if fields is None else fields)
        prompt, *whole = self.encode([before, *(before + option for option in options)])
        found: dict[int, str] = {}
        for option, ids in zip(options, whole, strict=True):
            answer = ids[len(prompt) :]
            shown = self.tokenizer.convert_ids_to_tokens(answer)
            if ids[: len(prompt)] != prompt:
                raise PromptError(
                    f"option '{option}' is not one token of its own after {before[-12:]!r}: the two are joined into "
                    f"other tokens ({shown})",
                    path=self.template.path,
                    mend="choose another option or end the template differently",
                )
            if len(answer) != 1:
                raise PromptError(
                    f"option '{option}' is {len(answer)} tokens of this tokenizer ({shown}), not one",
                    path=self.template.path,
                    mend="choose another option or end the template differently",
                )
            if answer[0] in found:
                raise PromptError(
                    f"options '{found[answer[0]]}' and '{option}' are the same token",
                    path=self.template.path,
                    mend="rename one",
                )
            found[answer[0]] = option
        return list(found)

    def fit(self, query_id: str, variants: Sequence[Fields]) -> tuple[list[list[int]], bool]:
        """Token ids of one query's prompts, and whether its text had to be shortened to fit them all.

        The first of the competition's fields alone gives way, from its end, by as much in each prompt as the longest
        needs, so that the prompts go on sharing their beginning. PromptError where even that is not enough.
        """
        prompts = self.encode([self._marked(fields) for fields in variants])
        if max(map(len, prompts)) <= self.max_tokens:
            return prompts, False
        cut = self.template.cut
        whole = str(variants[0][cut])
        words = self._joined(self._as_text(whole), special=False)
        kept = len(words)
        shown = max(1, self.text(variants[0]).count(whole))
        while (excess := max(map(len, prompts)) - self.max_tokens) > 0:
            if kept == 0:
                raise PromptError(
                    f"its prompt has {self.max_tokens + excess} tokens even without its {cut}, but the model reads at "
                    f"most {self.max_tokens}",
                    key=f"query {query_id}",
                    mend=f"raise max_length or shorten {self.template.path}",
                )
            kept = max(0, kept - -(-excess // shown))
            shorter = self.tokenizer.decode(words[:kept], skip_special_tokens=False).rstrip("�")
            prompts = self.encode([self._marked({**fields, cut: f"{shorter}…"}) for fields in variants])
        return prompts, True
