"""The notebooks' pictures come out with and without labels, and text reaches HTML unharmed and harmless."""

import dataclasses
import io
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cascade.base import ledger
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.rankings import tables
from cascade.report import figures

QUESTION = "Tom & <script>alert(1)</script> has $5\nand $6. ![A bar, \\( x < 3 \\)]() Find \\( \\frac{1}{2} \\)"


@pytest.fixture
def labelled() -> Task:
    """Four queries; train has misconception 0 only; q2's right answer is in no table, and q3 has no label."""
    texts = {"text": "t", "construct": "c", "subject": "s", "correct": "1", "wrong": "2"}
    rows = [{**texts, "query_id": f"q{n}_A", "question": QUESTION} for n in range(4)]
    return Task(
        EEDI,
        folder=Path(),
        train=pd.DataFrame([{**rows[0], "query_id": "t_A", "label_id": 0}]),
        queries=pd.DataFrame(rows),
        asked=[row["query_id"] for row in rows],
        labels=pd.DataFrame({"label_id": range(5), "text": [f"name {n}" for n in range(5)]}),
        truth=pd.DataFrame({"query_id": ["q0_A", "q1_A", "q2_A"], "label_id": [0, 1, 4]}),
    )


@pytest.fixture(params=["labels", "no labels", "empty labels"])
def task(request: pytest.FixtureRequest, labelled: Task) -> Task:
    assert labelled.truth is not None
    labels = {"labels": labelled.truth, "no labels": None, "empty labels": labelled.truth.head(0)}[request.param]
    return dataclasses.replace(labelled, truth=labels)


def ranking(*ids: int) -> pd.DataFrame:
    rows = [(f"q{n}_A", id_, 1 / (place + 1)) for n in range(4) for place, id_ in enumerate(ids)]
    return tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))


def texts(figure: Figure) -> str:
    """All that a drawn figure says; drawing it is part of the test."""
    figure.savefig(io.BytesIO())
    return "\n".join(artist.get_text() for artist in figure.findobj(Text))


def test_every_figure_draws_and_says_where_labels_lack(task: Task) -> None:
    before, after = ranking(0, 1, 2, 3), ranking(1, 0, 2)
    drawn = [
        figures.score_histogram(before, task),
        figures.recall_curves({"before": before, "after": after}, task),
        figures.moves(before, after, task),
    ]
    has_labels = task.truth is not None and len(task.truth) > 0
    assert [figures.NO_LABELS in texts(figure) for figure in drawn] == [not has_labels] * 3
    metrics = figures.metrics_table({"before": before, "after": after}, task)
    assert list(metrics.columns) == ["MAP@25", "MAP@25 seen", "MAP@25 unseen", "recall@25", "recall@100"]
    assert metrics.notna().to_numpy().all() == has_labels
    if has_labels:
        assert list(metrics.loc["before"]) == [0.5, 1.0, 0.25, 0.667, 0.667]
    else:
        assert metrics.isna().to_numpy().all()


def test_moves_counts_better_same_and_worse(labelled: Task) -> None:
    shown = texts(figures.moves(ranking(0, 1, 2), ranking(1, 0), labelled))
    assert "1 better, 1 same, 1 worse; MAP@25 0.500 → 0.500" in shown
    assert "unseen: 1 better, 1 same, 0 worse; MAP@25 0.250 → 0.500" in shown


def test_overlap_is_of_the_first_ones() -> None:
    shown = texts(figures.overlap({"a": ranking(0, 1, 2), "b": ranking(0, 3, 1)}, top=2)).split()
    assert shown.count("50") == 2  # 0 of 0, 1 and 0, 3
    assert shown.count("100") == 6  # both diagonals, and all the first ones are 0


def test_times_shows_the_last_attempt_failures_and_pauses(tmp_path: Path) -> None:
    assert "has no entries yet" in texts(figures.times(tmp_path))
    ledger.record(tmp_path, "retrieve-r1", "retrieve", 0, 100)  # an earlier run
    ledger.record(tmp_path, "retrieve-r1", "retrieve", 1000, 1020, peak_memory_mb=700.0)
    ledger.record(tmp_path, "rerank-ce", "load", 1021, 1025, peak_memory_mb=900.0)
    ledger.record(tmp_path, "rerank-ce", ledger.STAGE, 1020, 1050, peak_memory_mb=1900.0, status="out of memory")
    ledger.record(tmp_path, "ensemble", "fuse", 4650, 4655)  # an hour later, and without the conductor
    shown = texts(figures.times(tmp_path))
    assert "20.0 s, 0.7 GB" in shown
    assert "30.0 s, 1.9 GB, ✗ out of memory" in shown
    assert "5.0 s\n" in shown
    assert "60 min pause" in shown


def test_examples_escape_all_but_mathematics(task: Task) -> None:
    shown = figures.examples(ranking(0, 1, 2), task, count=3, top=1).data
    assert "<script" not in shown
    assert "Tom &amp; &lt;script&gt;alert(1)&lt;/script&gt; has <span>$</span>5<br>and" in shown
    assert "<i>[picture: A bar, \\( x &lt; 3 \\)]</i>" in shown
    assert "\\( \\frac{1}{2} \\)" in shown


def test_examples_go_from_the_first_rank_to_the_absent(labelled: Task) -> None:
    shown = figures.examples(ranking(0, 2, 1), labelled, top=1).data
    where = [shown.index(f"right answer {place}") for place in ("at rank 1", "at rank 3", "is absent")]
    assert where == sorted(where)
    assert "✓ name 4" in shown[where[2] :]
    assert "q3_A" not in shown  # it has no label to be placed by


def test_display_mathematics_and_tables_stay_whole() -> None:
    formula = "\\[\n a < b \\text{ costs } \\$5\n\\]"
    table = "\\begin{tabular}{l}\n $1$ \\\\ 2\n\\end{tabular}"
    assert figures.as_html(f"A\n{formula}\nB") == f"A\n{formula.replace('<', '&lt;')}\nB"
    assert figures.as_html(f"{table}\nB") == f"{table}<br>B"
