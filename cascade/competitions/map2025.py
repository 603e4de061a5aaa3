"""MAP – Charting Student Math Misunderstandings: what a student's explanation of an answer shows, in three guesses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from cascade.base.columns import among
from cascade.competitions.base import Task
from cascade.competitions.csv_files import refuse
from cascade.competitions.rows import TRAIN, TRUTH, RowCompetition

NONE = "NA"  # the misconception of rows without one
UNNAMED = ("", "na", "nan")  # how files write it
RIGHT, WRONG = "True_", "False_"  # what a category begins with: whether the answer is right
CATEGORY = f"({RIGHT}|{WRONG})(Correct|Neither|Misconception)"
# A label on the answer's other side is a slip of the pen while it is on fewer of its rows; else both sides are left.
SLIPS = 0.01
MISCONCEPTION = "Misconception:"
DESCRIBED = {
    side + kind: f"{answer} answer, {text}"
    for side, answer in ((RIGHT, "right"), (WRONG, "wrong"))
    for kind, text in (
        (f"Correct:{NONE}", "explained correctly"),
        (f"Neither:{NONE}", "and the explanation says neither"),
        (MISCONCEPTION, "with the misconception: "),
    )
}


class Map2025(RowCompetition):
    """A query is a question, the answer that a student chose, and why; a label is `Category:Misconception`.

    Which labels a query can have follows from its question, and from whether its answer is right.
    """

    name = "map2025"
    slug = "map-charting-student-math-misunderstandings"
    columns = ("row_id", "Category:Misconception")
    depth = 3
    id_column = "row_id"
    fields = ("explanation", "answer", "question", "question_id")
    text_columns = ("StudentExplanation", "MC_Answer", "QuestionText", "QuestionId")
    label_columns = ("Category", "Misconception")
    group = "question"
    hidden_queries = 16_000
    hidden_labels = 65
    sample = "sample/map2025"

    def label(self, row: Mapping[str, str]) -> str:
        category, misconception = (row[column].strip() for column in self.label_columns)
        if not re.fullmatch(CATEGORY, category) or re.search(r"\s", misconception):
            return ""
        return f"{category}:{NONE if misconception.lower() in UNNAMED else misconception}"

    def described(self, name: str) -> str:
        return _exchanged(name, described=True)

    def named(self, text: str) -> str:
        return _exchanged(text, described=False)

    def text(self, row: Mapping[str, str]) -> str:
        return f"{row['question']} {row['answer']} {row['explanation']}"

    def alike(self, row: Mapping[str, str]) -> Hashable:
        """One explanation of a question, whatever the order of its words, their case and the marks between them."""
        words = frozenset(re.findall(r"\w+", row["StudentExplanation"].lower()))
        return (row["QuestionId"].strip(), words) if words else row[self.id_column]

    def check(self, path: Path, frame: pd.DataFrame, warnings: list[str]) -> None:
        id_ = self.id_column
        if "StudentExplanation" in frame and (empty := frame["StudentExplanation"].str.strip() == "").any():
            warnings.append(
                f"{path}: {empty.sum()} rows have no StudentExplanation, {id_} {frame[id_][empty].iloc[0]} first; "
                f"their labels are chosen by question and answer alone"
            )
        if path.name not in (TRAIN, TRUTH):
            return
        categories = frame["Category"].str.strip()
        bad = (categories != "") & ~categories.str.fullmatch(CATEGORY)
        why, mend = "Category is '{Category}'", f"it must be {RIGHT} or {WRONG} and Correct, Neither or Misconception"
        refuse(path, frame, bad, id_, why, mend)
        spaced = frame["Misconception"].str.strip().str.contains(r"\s")
        refuse(path, frame, spaced, id_, "Misconception {Misconception!r} has a space, which parts labels", "join it")
        named = ~frame["Misconception"].str.strip().str.lower().isin(UNNAMED)
        if (other := named != categories.str.endswith(MISCONCEPTION[:-1])).any():
            first = frame[other].iloc[0]
            warnings.append(
                f"{path}: in {other.sum()} rows Category and Misconception disagree, {id_} {first[id_]} first "
                f"('{first['Category']}' with '{first['Misconception']}'); correct them"
            )
        if path.name == TRAIN:
            labelled = among(ids := frame["QuestionId"].str.strip(), set(ids[categories != ""].tolist()))
            mend = "fill one in, or remove the question's rows"
            refuse(path, frame, ~labelled, id_, "no row of question {QuestionId} has a Category", mend)

    def guesses(self, task: Task) -> dict[str, list[int]]:
        """The labels of the question and the answer in train, the most frequent first, then of the question, of all."""
        counts: dict[Hashable, Counter[int]] = {}
        for question, answer, label in _columns(task.train, "label_id"):
            for key in ((question, plain(answer)), question, None):
                counts.setdefault(key, Counter())[label] += 1
        ranked = {key: [label for label, _ in found.most_common()] for key, found in counts.items()}
        return {
            query: [*ranked.get((question, plain(answer)), []), *ranked.get(question, []), *ranked.get(None, [])]
            for question, answer, query in _columns(task.queries, "query_id")
        }

    def allowed(self, train: pd.DataFrame, queries: pd.DataFrame, labels: pd.DataFrame) -> dict[str, list[int]] | None:
        names = dict(zip(labels["label_id"].tolist(), map(self.named, labels["text"]), strict=True))
        of_question: dict[str, set[int]] = {}
        sides: dict[tuple[str, str], list[bool]] = {}
        for question, answer, label in _columns(train, "label_id"):
            of_question.setdefault(question, set()).add(label)
            sides.setdefault((question, plain(answer)), []).append(names[label].startswith(RIGHT))
        told: dict[tuple[str, str], list[int]] = {}
        for (question, answer), right in sides.items():
            left = tuple(side for side, on in ((RIGHT, True), (WRONG, False)) if right.count(on) >= SLIPS * len(right))
            told[question, answer] = sorted(id_ for id_ in of_question[question] if names[id_].startswith(left))
        found: dict[str, list[int]] = {}
        for question, answer, query in (*_columns(train, "query_id"), *_columns(queries, "query_id")):
            if question in of_question:
                found[query] = told.get((question, plain(answer))) or sorted(of_question[question])
        return found


def _columns(rows: pd.DataFrame, name: str) -> Iterator[tuple[str, str, Any]]:
    """Question, answer and what `name` has, a row."""
    return zip(*(rows[each].tolist() for each in ("question_id", "answer", name)), strict=True)


@cache
def plain(answer: str) -> str:
    r"""An answer in one spelling: `\( 3 \)` and `3` are the same."""
    return re.sub(r"\\[()]|\$|\s", "", answer).lower()


@cache  # once a label, not once a row of a submission
def _exchanged(text: str, described: bool) -> str:
    openings = [pair if described else pair[::-1] for pair in DESCRIBED.items()]
    return next((by + text[len(start) :] for start, by in openings if text.startswith(start)), text)


MAP2025 = Map2025()
