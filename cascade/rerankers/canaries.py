"""Canaries: what a stage's model scored on a few queries, in float32, by which every engine that loads it is proved.

A wrong adapter, a chat template of another version, float16 that overflows, a quantised copy with a wrong scale or a
kernel that computes something else leave scores that look like any others. So a stage asks its model for the canaries'
scores again as soon as it is loaded, on every device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cascade.base import atomic
from cascade.base.errors import ModelError
from cascade.base.manifest import sha256
from cascade.competitions.base import Task
from cascade.config.schema import Config, LLMPipeline
from cascade.models import adapters
from cascade.models.prompters import answers
from cascade.models.prompts import Prompter, query_fields
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Answer, Given, Question

QUERIES = 16  # the longest of train, and others from the shortest on
CANDIDATES = 4  # of a query that is asked about one by one
MAKE = "make canaries"
# What a pipeline's questions are made of, beside its prompt.
SHAPING = ("options", "window", "stride", "reverse", "group")
QUERY_KEYS = {"query_id", "fields", "candidates"}
KEYS = {"model", "adapter", "template", "shape", "engine", "queries", "prompts", "scores"}
Answers = Callable[[Sequence[Question]], list[Answer]]


class Drift(NamedTuple):
    """How far scores are from the canaries'. In log-odds of one option against another, the most in a prompt.

    `mean`, `largest`: over the prompts. `ranks`: Spearman's correlation of the log-odds of the first option.
    """

    prompts: int
    mean: float
    largest: float
    ranks: float

    def __str__(self) -> str:
        return (
            f"canaries: over {self.prompts} prompts the log-odds differ by {self.mean:.2g} on average "
            f"and {self.largest:.2g} at most, with a rank correlation of {self.ranks:.3f}"
        )


def path_of(pipeline: LLMPipeline, config: Config) -> Path:
    """Where the canaries of a stage lie: beside the config, as they are of a model, an adapter and a prompt."""
    return config.path.parent / "canaries" / config.path.stem / f"{pipeline.name}.json"


def chosen(pipeline: LLMPipeline, task: Task) -> list[dict[str, Any]]:
    """Queries of train with their fields and candidates' texts: `query_id, fields, candidates`.

    ModelError where there are none.
    """
    if task.train.empty:
        raise ModelError(
            "has no labelled query to make canaries of",
            path=task.folder,
            mend="pass the competition's data: --data dir",
        )
    order = task.train["text"].str.len().argsort(kind="stable").tolist()
    places = sorted({round(number) for number in np.linspace(0, len(order) - 1, min(QUERIES, len(order)))})
    size = CANDIDATES if pipeline.kind == "pointwise" else len(answers(pipeline))
    made = []
    for number, row in enumerate(task.train.iloc[[order[place] for place in places]].to_dict("records")):
        right = row.pop("label_id")
        others = [id_ for id_ in task.labels_of(str(row["query_id"])) if id_ != right]
        step = max(1, len(others) // size)
        some = others[number % step :: step][: min(size, pipeline.top_k) - 1]
        some.insert(number % (len(some) + 1), right)
        fields = {name: str(value) for name, value in query_fields(row).items()}
        made.append({"query_id": fields["query_id"], "fields": fields, "candidates": [task.texts[id_] for id_ in some]})
    return made


def questions(pipeline: LLMPipeline, queries: Sequence[Mapping[str, Any]]) -> list[Question]:
    """What the stage asks first of each of these queries; one option is no question."""
    asked: list[Question] = []
    for query in queries:
        names = dict(enumerate(query["candidates"]))
        asked += next(ask(pipeline, [Given(query["query_id"], dict(query["fields"]), list(names))], names))
    return [question for question in asked if question.options > 1]


def write(
    pipeline: LLMPipeline,
    config: Config,
    queries: Sequence[dict[str, Any]],
    prompter: Prompter,
    answer: Answers,
    engine: str,
    path: Path | None = None,
) -> Path:
    """Has the model score the `chosen` queries, and writes canaries. `engine`: what it ran on, in words.

    path: default `path_of`.
    """
    asked = questions(pipeline, queries)
    if not asked:
        raise ModelError(
            "asks nothing that has two answers, so it has no canaries",
            key=f"stage '{pipeline.name}'",
            mend="name the other pipelines with --stage",
        )
    found = {
        **_identity(pipeline, config),
        "engine": engine,
        "queries": queries,
        "prompts": [_digest(each, prompter) for each in asked],
        "scores": [each.astype(float).round(6).tolist() for each in _answers(asked, answer)],
    }
    path = path or path_of(pipeline, config)
    atomic.write_text(path, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read(path: Path) -> dict[str, Any]:
    """The canaries of a stage; ModelError where they cannot be used."""
    mend = f"make them again: {MAKE} CONFIG=file"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        scores = [np.array(each, dtype=float) for each in found["scores"]]
        whole = len(scores) == len(found["prompts"]) > 0 and all(
            each.ndim == 2 and np.isfinite(each).all() for each in scores
        )
        known = found.keys() >= KEYS and all(each.keys() >= QUERY_KEYS for each in found["queries"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot be read as canaries: {error}", path=path, mend=mend) from error
    if not (whole and known):
        raise ModelError("its scores are not a number for each option of each prompt", path=path, mend=mend)
    return found


def check(pipeline: LLMPipeline, config: Config, prompter: Prompter, path: Path | None = None) -> dict[str, Any] | None:
    """The stage's canaries; None where there are none, ModelError where they are of something else.

    The prompts are made again: by them a template, a chat template or a tokenizer that was changed is found.
    path: default `path_of`.
    """
    path = path or path_of(pipeline, config)
    if not path.exists():
        return None
    found = read(path)
    mend = f"undo that, or, where it is meant, make the canaries again: {MAKE} CONFIG={config.path}"
    identity = _identity(pipeline, config)
    for key, value in identity.pop("shape").items():
        if (was := found["shape"].get(key)) != value:
            raise ModelError(f"was made with {key} = {was}, and it is {value}", path=path, mend=mend)
    for what, value in identity.items():
        if found[what] != value:
            said = {
                "model": f"another model ({found['model']})",
                "adapter": f"other weights of adapter '{pipeline.adapter}'" if value else "an adapter",
                "template": f"another text of {pipeline.prompt}",
            }[what]
            raise ModelError(f"was made with {said}", path=path, mend=mend)
    asked = questions(pipeline, found["queries"])
    if [_digest(each, prompter) for each in asked] != found["prompts"]:
        raise ModelError(
            "was made with other token ids of the same prompts: the tokenizer, its chat template, chat_template or "
            "max_length has changed",
            path=path,
            mend=mend,
        )
    return found


def drift(pipeline: LLMPipeline, found: Mapping[str, Any], answer: Answers) -> Drift:
    """Asks the model for the canaries' scores again."""
    wanted = [np.array(each) for each in found["scores"]]
    scores = _answers(questions(pipeline, found["queries"]), answer)
    if [each.shape for each in wanted] != [each.shape for each in scores]:
        raise ModelError(
            "its scores are not a number for each option of each prompt", mend=f"make them again: {MAKE} CONFIG=file"
        )
    return compared(wanted, scores)


def compared(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Drift:
    """Two models' log-probabilities of the same options, [n_prompts, n_options] a question."""
    changes = np.concatenate([np.ptp(b.astype(float) - a, axis=1) for a, b in zip(wanted, found, strict=True)])
    firsts = [np.concatenate([each[:, 0] - each[:, 1:].mean(axis=1) for each in side]) for side in (wanted, found)]
    one, other = (pd.Series(each).rank() for each in firsts)
    ranks = one.corr(other) if one.nunique() > 1 < other.nunique() else 0.0  # of a constant there is no correlation
    return Drift(len(changes), float(changes.mean()), float(changes.max()), float(ranks))


def _answers(asked: Sequence[Question], answer: Answers) -> list[Answer]:
    """Of each question in turn: questions of as many options go to the engine together."""
    found: dict[int, Answer] = {}
    for size in {question.options for question in asked}:
        places = [place for place, question in enumerate(asked) if question.options == size]
        found.update(zip(places, answer([asked[place] for place in places]), strict=True))
    return [found[place] for place in sorted(found)]


def _identity(pipeline: LLMPipeline, config: Config) -> dict[str, Any]:
    """What canaries are of. A model is known by its name: a quantised copy is held to the original's scores."""
    folder = adapters.adapter_path(pipeline, config)
    template = (config.path.parent / pipeline.prompt).read_text(encoding="utf-8-sig")
    return {
        "model": pipeline.model,
        "adapter": sha256(folder / adapters.ADAPTER_FILES[1]) if folder is not None else "",
        "template": hashlib.sha256(template.encode()).hexdigest(),
        "shape": {key: getattr(pipeline, key) for key in SHAPING if hasattr(pipeline, key)},
    }


def _digest(question: Question, prompter: Prompter) -> str:
    """What the question's prompts are known by: their token ids."""
    prompts, _ = prompter.fit(question.query_id, question.variants)
    return hashlib.sha256(repr([list(map(int, each)) for each in prompts]).encode()).hexdigest()[:16]
