"""train.csv, test.csv and test_labels.csv in the format of MAP 2025."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from cascade.base.made import replaced
from cascade.competitions.map2025 import NONE, RIGHT, WRONG
from sample.generate.files import check_sizes, write
from sample.generate.map.calculations import CALCULATIONS
from sample.generate.map.item import Item, Values, Way
from sample.generate.map.problems import PROBLEMS
from sample.generate.topic import tex

LABELS = ["Category", "Misconception"]
COLUMNS = ["row_id", "QuestionId", "QuestionText", "MC_Answer", "StudentExplanation"]
FIRST_ID = 40_000  # of questions
RIGHT_ANSWERS = 0.4
# What explanations show: of a right answer, then of a wrong one.
OF_RIGHT = {"Correct": 0.65, "Neither": 0.25, "Misconception": 0.10}
OF_WRONG = {"Correct": 0.05, "Neither": 0.35, "Misconception": 0.60}
OWN = 0.85  # of the wrong answers with a misconception: the misconception's own
VAGUE = (
    "i guessed", "it just looked right", "i used a calculator", "because my teacher told us", "i am not sure", "it is "
    "the only one that makes sense", "i did it in my head", "i worked it out", "idk", "the others are wrong",
    "i know it",
)  # fmt: skip
VOICES = (
    "{0}", "{0}.", "because {0}", "I think this because {0}.", "{0} so the answer is {1}", "I got {1} because {0}.",
    "well {0}", "my answer is {1} as {0}", "so basically {0}", "First I looked at it, {0}.", "{0}, that is why",
    "it is {1} because {0}", "{0} and that gives {1}", "you have to know that {0}", "i think {0}", "{0} i think",
)  # fmt: skip
WORDS = dict(enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")))
TYPING_ERRORS = 0.35  # of explanations
NEW = 20  # draws until a test's explanation may be one of train's


@dataclass(frozen=True)
class Question:
    """One item with its numbers."""

    id: int
    item: Item
    values: Values

    @property
    def text(self) -> str:
        return self.item.text.format(**self.values)


def drawn(rng: Random) -> list[Question]:
    """Every item once, with numbers of which no misconception gives the right answer."""
    found = []
    for number, item in enumerate((*CALCULATIONS, *PROBLEMS)):
        values = item.draw(rng)
        while tex(item.right.answer(**values)) in {tex(way.answer(**values)) for way in item.wrong.values()}:
            values = item.draw(rng)
        found.append(Question(FIRST_ID + 17 * number, item, values))
    return found


def _row(question: Question, rng: Random) -> tuple[list[object], list[str]]:
    """A student's question, answer and explanation, and its label: what the explanation was made of."""
    is_right = rng.random() < RIGHT_ANSWERS
    shows = OF_RIGHT if is_right else OF_WRONG
    kind = rng.choices([*shows], [*shows.values()])[0]
    name = rng.choice([*question.item.wrong]) if kind == "Misconception" else NONE
    return _of_label(question, is_right, kind, name, rng)


def _of_label(question: Question, is_right: bool, kind: str, name: str, rng: Random) -> tuple[list[object], list[str]]:
    item = question.item
    right, *wrong = item.options(question.values)
    answer = right if is_right else rng.choice(wrong)
    if not is_right and name != NONE and rng.random() < OWN:
        answer = tex(item.wrong[name].answer(**question.values))
    way = item.right if kind == "Correct" else item.wrong.get(name)
    side = RIGHT if is_right else WRONG
    return [question.id, question.text, answer, _explained(question, way, answer, rng)], [f"{side}{kind}", name]


def _explained(question: Question, way: Way | None, answer: str, rng: Random) -> str:
    """What a student says, whose way it was; without one, what shows none."""
    chosen = answer.replace(r"\(", "").replace(r"\)", "").replace("  ", " ").strip()
    if way is None:
        remark = rng.choice((*VAGUE, *question.item.remarks)).format(**question.values)
        said = rng.choice(VOICES[:-1]).format(remark, chosen)
    else:
        words = way.words(question.values)
        said = rng.choice(VOICES).format(rng.choice(way.clauses).format(**words), words["answer"])
    if rng.random() < 0.25:
        said = " ".join(WORDS.get(int(word), word) if word.isdecimal() else word for word in said.split())
    if rng.random() < 0.3:
        said = said.lower() if rng.random() < 0.7 else said[:1].upper() + said[1:]
    return _mistyped(said, rng) if rng.random() < TYPING_ERRORS else said


def _mistyped(text: str, rng: Random) -> str:
    """With one to three slips of the hand, in letters only: the numbers stay what they are."""
    for _ in range(rng.randint(1, 3)):
        places = [n for n in range(1, len(text) - 1) if text[n].isalpha() and text[n + 1].isalpha()]
        if not places:
            return text
        n = rng.choice(places)
        text = rng.choice((
            text[:n] + text[n + 1] + text[n] + text[n + 2 :],  # two change places
            text[:n] + text[n + 1 :],  # one is left out
            text[:n] + text[n] + text[n:],  # one is typed twice
        ))  # fmt: skip
    return text


def generate(out: Path, seed: int, questions: int = 2000, test: int = 400) -> str:
    """Writes the three CSV files under `out` and tells in a line what is in them. `questions`: rows, the test's too.

    StageError where files of these names there are not an earlier sample's.
    """
    check_sizes(questions, test)
    rng = Random(seed)
    asked = drawn(rng)
    # Each label of each question once, as no test row can have one that train lacks.
    train = [
        _of_label(question, is_right, kind, name, rng)
        for question in asked
        for is_right in (True, False)
        for kind, name in (("Correct", NONE), ("Neither", NONE), *(("Misconception", n) for n in question.item.wrong))
    ]
    train = [*train, *(_row(rng.choice(asked), rng) for _ in range(questions - test - len(train)))]
    train = rng.sample(train, questions - test)
    taken = {(told[0], told[3]) for told, _ in train}
    tests = []
    for _ in range(test):
        told, label = _row(rng.choice(asked), rng)
        for _ in range(NEW):
            if (told[0], told[3]) not in taken:
                break
            told, label = _row(rng.choice(asked), rng)
        tests.append((told, label))
    rows = [[number, *told, *label] for number, (told, label) in enumerate((*train, *tests))]
    cut = len(train)
    with replaced(out) as to:
        write(to / "train.csv", [*COLUMNS, *LABELS], rows[:cut])
        write(to / "test.csv", COLUMNS, (row[:5] for row in rows[cut:]))
        write(to / "test_labels.csv", ["row_id", *LABELS], ([row[0], *row[5:]] for row in rows[cut:]))
    labels = {tuple(label) for _, label in train}
    return f"{out}: {len(train)} train and {test} test rows over {len(asked)} questions, {len(labels)} labels in train"
