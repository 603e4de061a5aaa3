"""Whether a model thinks before it answers: where one token is asked for, that is the first token of its thinking."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jinja2 import TemplateError, meta
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cascade.models.prompts import Fields, Prompter

# How chat templates spell where thinking begins and ends.
OPEN = re.compile(r"<\|?(?:\w+:)?think(?:ing)?\|?>|\[THINK\]|<\|channel\|>analysis")
CLOSE = re.compile(r"<\|?/(?:\w+:)?think(?:ing)?\|?>|\[/THINK\]|<\|channel\|>final")
SWITCHES = ("enable_thinking", "thinking")  # the chat templates' own names for it
BEGIN = "end the template with '=== assistant' and the beginning of an answer"


@dataclass(frozen=True)
class Thinking:
    """That the answer begins with thinking. `sure`: where no chat template could say it more clearly."""

    said: str
    mend: str
    sure: bool


def thinking(prompter: Prompter, fields: Fields) -> Thinking | None:
    """Whether the answer to the prompt of `fields` begins with thinking; None where nothing speaks for it."""
    if prompter.template.plain is not None:
        return None
    chat = str(prompter.tokenizer.chat_template)
    text = prompter.text(fields)
    opened, closed = (max((each.start() for each in tag.finditer(text)), default=-1) for tag in (OPEN, CLOSE))
    switch = next((name for name in SWITCHES if name in _variables(chat)), None)
    quiet = f"chat_template = {{ {switch} = false }}"
    if switch is not None and prompter.chat_arguments.get(switch) is not False:
        off = Prompter(
            prompter.template, prompter.tokenizer, prompter.max_tokens, {**prompter.chat_arguments, switch: False}
        )
        if off.text(fields) != text:
            return Thinking(f"the model thinks before it answers ({switch} is on)", quiet, sure=True)
    if opened > closed:
        return Thinking(
            f"the prompt ends within the model's thinking ('{text[opened:][:24].strip()}')", BEGIN, sure=True
        )
    begun = prompter.template.messages[-1][0] == "assistant" and prompter.template.chat(fields)[-1]["content"]
    if switch is not None or begun or closed >= 0:
        return None
    vocabulary = prompter.tokenizer.get_vocab()
    tags = [tag for tag in (*OPEN.findall(chat), *CLOSE.findall(chat)) if tag.replace("/", "") in vocabulary]
    if not tags:
        return None
    return Thinking(f"the model may think before it answers: its chat template knows '{tags[0]}'", BEGIN, sure=False)


def _variables(chat: str) -> set[str]:
    """What a chat template is given from outside."""
    environment = ImmutableSandboxedEnvironment(extensions=[loopcontrols])
    try:
        return meta.find_undeclared_variables(environment.parse(chat))
    except TemplateError:  # with transformers' own tags, such as `generation`
        return set(re.findall(r"\w+", chat))
