"""Draws questions from the topics and splits them so that much of the test was never seen in train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cascade.base.errors import DataError
from cascade.base.made import replaced
from sample.generate.files import check_sizes, write
from sample.generate.topic import Topic, tex
from sample.generate.topics import all_topics

LETTERS = "ABCD"
# Of the competition's mapping over a third has no train row, and most of its hidden test is of those.
HELD_OUT = 0.4
TEST_UNSEEN = 0.6
# About one wrong answer in five of the competition's train.csv has no label.
UNLABELLED = 0.15
ROUNDS = 100  # over all topics, before the numbers asked for are called out of reach
QUESTION_COLUMNS = [
    "QuestionId", "ConstructId", "ConstructName", "SubjectId", "SubjectName", "CorrectAnswer", "QuestionText",
    *[f"Answer{letter}Text" for letter in LETTERS],
]  # fmt: skip
LABEL_COLUMNS = [f"Misconception{letter}Id" for letter in LETTERS]


@dataclass(frozen=True)
class Question:
    topic: Topic
    text: str
    answers: tuple[str, ...]
    misconceptions: tuple[str | None, ...]
    correct: int


def _slips(topic: Topic, values: Mapping[str, Any], rng: Random) -> list[str]:
    """Wrong answers that no rule explains: the topic's own, or numbers near the right one."""
    found = [tex(slip) for slip in topic.slips(**values)]
    right = topic.correct[0](**values)
    if not found and isinstance(right, int):
        found = [tex(right + step) for step in (1, -1, 2, 10, -10) if right + step > 0 or right < 0]
    rng.shuffle(found)
    explained = {tex(answer) for rule, _ in topic.rules.values() if (answer := rule(**values)) is not None}
    return [slip for slip in dict.fromkeys(found) if slip not in explained and slip != topic.answer(values)]


def _draw(topic: Topic, wanted: Sequence[str], held_out: set[str], rng: Random, test: bool) -> Question | None:
    """A question of `topic`, whose wrong answers show `wanted` misconceptions; None where these values give too few."""
    values = topic.draw(rng)
    telling = topic.wrong(values)
    allowed = [name for name in telling if name in wanted]
    rng.shuffle(allowed)
    if test:  # one unseen misconception first, the others by the share
        unseen = [name for name in allowed if name in held_out]
        seen = [name for name in allowed if name not in held_out]
        allowed = []
        while unseen or seen:
            source = unseen if unseen and (not seen or rng.random() < TEST_UNSEEN) else seen
            allowed.append(source.pop())
    wrong: list[tuple[str, str | None]] = [(telling[name], name) for name in allowed]
    slips: list[tuple[str, str | None]] = [(slip, None) for slip in _slips(topic, values, rng)]
    chosen: list[tuple[str, str | None]] = []
    while len(chosen) < 3 and (wrong or slips):
        take_slip = slips and (not wrong or (bool(chosen) and rng.random() < UNLABELLED))
        chosen.append((slips if take_slip else wrong).pop(0))
    if len(chosen) < 3 or not any(name for _, name in chosen):
        return None
    options = [(topic.answer(values), None), *chosen]
    order = rng.sample(range(4), 4)
    return Question(
        topic=topic,
        text=topic.question(rng.randrange(len(topic.phrasings)), values),
        answers=tuple(options[i][0] for i in order),
        misconceptions=tuple(options[i][1] for i in order),
        correct=order.index(0),
    )


def _questions(count: int, held_out: set[str], rng: Random, taken: set[str], test: bool) -> list[Question]:
    """`count` questions over all topics in turn, no text twice."""
    topics = all_topics()
    made: list[Question] = []
    for _ in range(ROUNDS):
        for topic in rng.sample(topics, len(topics)):
            wanted = [name for name in topic.rules if test or name not in held_out]
            question = _draw(topic, wanted, held_out, rng, test)
            if question and question.text not in taken:
                taken.add(question.text)
                made.append(question)
            if len(made) == count:
                return made
    raise DataError(f"only {len(made)} of {count} questions after {ROUNDS} rounds over the topics; ask for fewer")


def generate(out: Path, seed: int, questions: int = 480, test: int = 80) -> str:
    """Writes the four CSV files under `out` and tells in a line what is in them.

    StageError where files of these names there are not an earlier sample's.
    """
    check_sizes(questions, test)
    rng = Random(seed)
    topics = all_topics()
    names = list(dict.fromkeys(name for topic in topics for name in topic.rules))
    rng.shuffle(names)
    ids = {name: id_ for id_, name in enumerate(names)}
    held_out = set(rng.sample(names, round(HELD_OUT * len(names))))
    constructs = {t.construct: i for i, t in enumerate(rng.sample(topics, len(topics)), start=1)}
    subjects = {s: i for i, s in enumerate(sorted({t.subject for t in topics}), start=1)}
    taken: set[str] = set()
    parts = {
        "train": _questions(questions - test, held_out, rng, taken, test=False),
        "test": _questions(test, held_out, rng, taken, test=True),
    }
    question_ids = iter(rng.sample(range(questions), questions))

    def row(question: Question) -> tuple[list[object], list[object]]:
        topic = question.topic
        id_ = next(question_ids)
        labels: list[object] = ["" if name is None else ids[name] for name in question.misconceptions]
        told = [id_, constructs[topic.construct], topic.construct, subjects[topic.subject], topic.subject]
        return [*told, LETTERS[question.correct], question.text, *question.answers], labels

    rows = {part: sorted((row(question) for question in made), key=lambda r: int(str(r[0][0])))
            for part, made in parts.items()}  # fmt: skip
    test_labels = ([told[0], *labels] for told, labels in rows["test"])
    with replaced(out) as to:
        write(to / "train.csv", QUESTION_COLUMNS + LABEL_COLUMNS, ([*told, *labels] for told, labels in rows["train"]))
        write(to / "test.csv", QUESTION_COLUMNS, (told for told, _ in rows["test"]))
        write(to / "test_labels.csv", ["QuestionId", *LABEL_COLUMNS], test_labels)
        mapping = ((id_, name) for name, id_ in ids.items())
        write(to / "misconception_mapping.csv", ["MisconceptionId", "MisconceptionName"], mapping)
    shown = {part: [n for q in made for n in q.misconceptions if n] for part, made in parts.items()}
    unseen = [name for name in shown["test"] if name not in set(shown["train"])]
    return (
        f"{out}: {len(parts['train'])} train and {len(parts['test'])} test questions over {len(topics)} topics, "
        f"{len(names)} misconceptions, {len(set(shown['train']))} of them in train; the test's {len(shown['test'])} "
        f"labelled answers show {len(set(shown['test']))}, {len(set(unseen)) / len(set(shown['test'])):.0%} of them "
        f"never in train ({len(unseen) / len(shown['test']):.0%} of the answers)"
    )
