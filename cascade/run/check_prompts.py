"""What can be found wrong about an LLM stage's prompts before a run: its tokenizer is loaded, its weights are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cascade.base.errors import CascadeError
from cascade.competitions.base import Task
from cascade.config.schema import Config, LanguageModel, LLMPipeline, Reason
from cascade.models import locate, prompters
from cascade.models.checks import int8
from cascade.models.checks.facts import Fact
from cascade.models.prompts import BLANK, PROBE, Fields, Prompter, Template, query_fields
from cascade.models.thinking import thinking
from cascade.rerankers import canaries
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Given, Question

ROWS = 6  # queries that templates are filled with: the shortest, the longest, and some between


@dataclass(frozen=True)
class Stage:
    """An LLM stage whose prompts are looked at; `asked` are the data's own, none where there is no data."""

    name: str
    model: LanguageModel
    template: Template
    asked: Sequence[Question]

    def fact(self, what: str, ok: bool | None, found: str, mend: str = "") -> Fact:
        return Fact(f"{self.name}: {what}", ok, found, mend)

    def warning(self, what: str, found: str, told: str) -> Fact:
        """Returns a fact about what is not wrong, but unexpected."""
        return self.fact(what, True, found, f"stage '{self.name}': {told}")

    @property
    def filled(self) -> str:
        return self.model.prompt + (f" is filled with {len(self.asked)} queries" if self.asked else " can be filled")

    def refused(self, what: str, error: CascadeError) -> Fact:
        return self.fact(what, False, error.found, error.mend)

    @property
    def fields(self) -> Iterator[Fields]:
        """Returns the fields of one prompt a query."""
        return (question.variants[0] for question in self.asked)


def facts(config: Config, task: Task | None) -> Iterator[Fact]:
    """A fact for each thing that was looked at; templates are filled with rows of the data where it is given."""
    for name, model in config.language_models().items():
        try:
            stage = Stage(name, model, prompters.template(model, config), _asked(model, config, task))
            for fields in (stage.template.everywhere(BLANK), *stage.fields):
                stage.template.text(fields)
        except CascadeError as error:
            yield Fact(f"{name}: template", False, error.found, error.mend)
            continue
        yield from _of_stage(stage, config)


def _of_stage(stage: Stage, config: Config) -> Iterator[Fact]:
    try:
        folder = locate.model_path(stage.model.model, config.path.parent)
    except CascadeError:
        yield stage.fact("template", True, stage.filled)
        yield stage.fact("tokenizer", None, f"not checked without its model, {stage.model.model}")
        return
    try:
        tokenizer = prompters.load_tokenizer(stage.model, folder)
    except Exception as error:  # a dozen kinds, of transformers and of what it reads
        told = " ".join(str(error).split())[:200]
        yield stage.fact("tokenizer", False, f"{folder}: cannot be loaded: {told}", "fetch the model again")
        return
    length = prompters.context_length(stage.model, folder)
    try:
        prompter = prompters.open_prompter(stage.model, config, tokenizer, length)
        for fields in (stage.template.everywhere(BLANK), stage.template.everywhere(PROBE), *stage.fields):
            prompter.text(fields)
    except CascadeError as error:
        yield stage.refused("template", error)
        return
    for look in (_template, _tokenizer, _options, _thinking, _length):
        yield from look(stage, prompter)
    if isinstance(stage.model, LLMPipeline):
        yield from _canaries(stage, stage.model, config, prompter)


def _asked(model: Reason | LLMPipeline, config: Config, task: Task | None) -> Sequence[Question]:
    """The prompts of a few queries, each with the longest candidates that there are, as the stage asks them first."""
    if task is None:
        return []
    texts = task.queries["text"].tolist()
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    places = sorted({round(step * (len(order) - 1) / (ROWS - 1)) for step in range(ROWS)})
    rows = task.queries.iloc[[order[place] for place in places]].to_dict("records")
    given = [(str(row["query_id"]), query_fields(row)) for row in rows]
    if isinstance(model, Reason):
        return [Question(query, [fields]) for query, fields in given]
    if config.reason is not None and config.reason.enabled:  # what is written may be missing, too
        given = [
            (query, {**fields, "reason": fields[task.competition.fields[-1]]}) for query, fields in given[:-1]
        ] + given[-1:]
    names = dict(enumerate(sorted(task.labels["text"], key=len, reverse=True)[: model.top_k]))
    return next(ask(model, [Given(query, fields, list(names)) for query, fields in given], names))


def _template(stage: Stage, prompter: Prompter) -> Iterator[Fact]:
    """Whether the model's chat template keeps all that the messages say."""
    for fields in (stage.template.everywhere(PROBE), *stage.fields):
        dropped = prompter.dropped(fields) if prompter.template.plain is None else []
        if dropped:
            role, line = dropped[0]
            yield stage.fact(
                "template", False, f"{stage.template.path}: the model's chat template leaves out {len(dropped)} of its "
                f"lines, the first of them under '=== {role}': {line[:60]!r}",
                "write it under '=== user'",
            )  # fmt: skip
            return
    yield stage.fact("template", True, stage.filled)


def _tokenizer(stage: Stage, prompter: Prompter) -> Iterator[Fact]:
    """Whether what is written is what is read."""
    try:
        changed = [prompter.check_tokenizer(fields) for fields in (stage.template.everywhere(PROBE), *stage.fields)]
    except CascadeError as error:
        yield stage.refused("tokenizer", error)
        return
    if told := next(filter(None, changed), ""):
        yield stage.warning("tokenizer", "its tokens give back the prompts' text, or nearly", told)
    else:
        yield stage.fact("tokenizer", True, "its tokens give back the prompts' text")


def _options(stage: Stage, prompter: Prompter) -> Iterator[Fact]:
    """Whether each option is one token, and the same behind every prompt."""
    answers = prompters.answers(stage.model)
    if not answers:
        return
    try:
        ids = prompter.option_ids(answers)
        for fields in stage.fields:
            if prompter.option_ids(answers, fields) != ids:
                yield stage.fact(
                    "options", False, f"{stage.template.path}: which tokens the options are depends on the query",
                    "end the template with fixed text",
                )  # fmt: skip
                return
    except CascadeError as error:
        yield stage.refused("options", error)
        return
    yield stage.fact("options", True, f"{len(ids)} options, each a token of its own")


def _thinking(stage: Stage, prompter: Prompter) -> Iterator[Fact]:
    """A model that thinks first; with an adapter it may have been taught not to."""
    found = thinking(prompter, next(stage.fields, stage.template.everywhere(BLANK)))
    if found is None:
        return
    if found.sure and stage.model.adapter is None:
        yield stage.fact("thinking", False, found.said, found.mend)
    else:
        taught = " if its adapter was not trained so" if stage.model.adapter is not None else ""
        yield stage.warning("thinking", "not known", f"{found.said}{taught}; {found.mend}")


def _length(stage: Stage, prompter: Prompter) -> Iterator[Fact]:
    """The longest prompt, of the longest query with the longest candidates."""
    if not stage.asked:
        return
    query, variants, _ = stage.asked[-1]
    try:
        longest = max(len(ids) for ids in prompter.encode([prompter.text(fields) for fields in variants]))
        _, shortened = prompter.fit(query, variants)
    except CascadeError as error:
        yield stage.refused("length", error)
        return
    room = f"the longest prompt that the data can make has {longest:,} tokens of {prompter.max_tokens:,}"
    if shortened:
        yield stage.warning("length", room, f"the question of {query} is cut to fit; raise max_length")
    else:
        yield stage.fact("length", True, room)


def _canaries(stage: Stage, pipeline: LLMPipeline, config: Config, prompter: Prompter) -> Iterator[Fact]:
    """Whether the canaries are those of this model, adapter and prompt; stages themselves ask for their scores."""
    try:
        found = canaries.check(pipeline, config, prompter)
    except CascadeError as error:
        yield stage.refused("canaries", error)
        return
    if found is None:
        told, mend = "none to check the model's scores by", f"{canaries.MAKE} CONFIG=file"
        if int8.is_on(config):  # whose error depends on the model and the card: nobody has measured it on a T4
            yield stage.fact("canaries", False, f"{told}, which {int8.VARIABLE} requires", f"run: {mend}")
        else:
            yield stage.fact("canaries", None, f"{told}; make them: {mend}")
    else:
        yield stage.fact("canaries", True, f"{len(found['prompts'])} queries, made by {found['engine']}")
