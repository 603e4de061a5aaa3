"""What the notebooks of LLM stages show, on a case small enough to be worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.rankings import tables
from cascade.report import figures_llm
from cascade.report.figures_llm import curve, trade_off
from cascade.stages.context import RunContext
from tests.cascade.models.test_prompts import make_tokenizer

CONFIG = """
engine = "transformers"

[reason]
model = "model"
prompt = "reason.txt"

[[retrieval]]
name = "r1"
retriever = [{ kind = "tfidf" }]

[[pipeline]]
name = "first"
kind = "pointwise"
candidates = "r1"
top_k = 4
model = "model"
prompt = "point.txt"

[[pipeline]]
name = "second"
kind = "SECOND"
candidates = "r1"
top_k = 4
model = "model"
prompt = "list.txt"
select = { by = "first", top_n = 4 }

[[pipeline]]
name = "knockout"
kind = "tournament"
candidates = "second"
group = 3
model = "model"
prompt = "list.txt"
chat_template = { enable_thinking = false }

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "knockout"
model = "model"

[ensemble]
weights = { r1 = 1.0 }
"""
PROMPTS = {
    "reason.txt": "=== user\nWhy? {{ question }}\n",
    "point.txt": "=== system\nBe brief.\n=== user\n{{ wrong }} because: {{ candidate }}?\n",
    "list.txt": (
        "=== user\n{{ wrong }}\n{% for option in options %}\n{{ option.letter }}. {{ option.text }}\n{% endfor %}\n"
    ),
}

# Two of the nine queries are ranked; their labels are 0 (20_A) and 20 (20_B).
R1 = {"20_A": [0, 1, 2, 3, 4], "20_B": [1, 2, 20, 3, 4]}
FIRST = {"20_A": [(1, 0.9), (0, 0.4), (2, 0.3), (3, 0.1)], "20_B": [(20, 0.6), (1, 0.5), (2, 0.2), (3, 0.1)]}
SECOND = {"20_A": [(0, 0.5), (1, 0.3), (2, 0.15), (3, 0.05)], "20_B": [(1, 0.4), (20, 0.3), (2, 0.2), (3, 0.1)]}


def write_table(context: RunContext, name: str, scored: dict[str, list[tuple[int, float]]]) -> None:
    rows = [(query, id_, score) for query, ids in scored.items() for id_, score in ids]
    ranked = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))
    tables.write(ranked, context.config.table_path(name, context.run))


def make_bench(folder: Path, second: str = "pointwise") -> RunContext:
    run = folder.parent / "run"
    run.mkdir()
    path = folder.parent / "config.toml"
    source = CONFIG.replace("SECOND", second)
    prompt = "point.txt" if second == "pointwise" else "list.txt"
    path.write_text(source.replace('prompt = "list.txt"', f'prompt = "{prompt}"', 1))
    for name, text in PROMPTS.items():
        (folder.parent / name).write_text(text)
    context = RunContext(configs.load(path), EEDI.read(folder), run)
    assert context.task.truth is not None
    ranked = context.task.truth["query_id"].isin(R1)
    labelled = dataclasses.replace(context.task, truth=context.task.truth[ranked])
    context = dataclasses.replace(context, task=labelled)
    write_table(
        context, "r1", {query: [(id_, 1 / rank) for rank, id_ in enumerate(ids, 1)] for query, ids in R1.items()}
    )
    write_table(context, "first", FIRST)
    write_table(context, "second", SECOND)
    return context


@pytest.fixture
def context(folder: Path) -> RunContext:
    return make_bench(folder)


def at(points: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """`kept` and `map` at a threshold."""
    (row,) = points[np.isclose(points["threshold"], threshold)].to_dict("records")
    return float(row["kept"]), float(row["map"])


def texts(figure: Figure) -> str:
    figure.savefig(io.BytesIO())
    return "\n".join(artist.get_text() for artist in figure.findobj(Text))


@pytest.mark.parametrize(
    ("key", "threshold", "kept", "map_"),
    [
        # All is kept: the right answers stand 1st and 2nd in `second`.
        ("min_score", 0.0, 8 / 8, (1 + 1 / 2) / 2),
        # 20_A keeps 1, 0 and 2, 20_B keeps 20, 1 and 2.
        ("min_score", 0.15, 6 / 8, (1 + 1 / 2) / 2),
        # 20_A keeps 1 alone, so 0 comes behind it as the retrieval has it, 20_B keeps 1 and 20.
        ("min_score", 0.45, 3 / 8, (1 / 2 + 1 / 2) / 2),
        # 20_A keeps 1, 20_B keeps 20 alone: it is 1st now.
        ("min_score", 0.55, 2 / 8, (1 / 2 + 1) / 2),
        # 20_B keeps nothing and stays as the retrieval has it, where 20 is 3rd.
        ("min_score", 0.65, 1 / 8, (1 / 2 + 1 / 3) / 2),
        ("min_score", 1.0, 0 / 8, (1 + 1 / 3) / 2),
        # 20_A is sure by 0.9, 20_B by 0.6; a query that is skipped stays as the retrieval has it: 1st and 3rd.
        ("max_top1", 0.95, 8 / 8, (1 + 1 / 2) / 2),
        ("max_top1", 0.65, 4 / 8, (1 + 1 / 2) / 2),
        ("max_top1", 0.55, 0 / 8, (1 + 1 / 3) / 2),
        # The margins are 0.5 and 0.1.
        ("max_margin", 0.55, 8 / 8, (1 + 1 / 2) / 2),
        ("max_margin", 0.15, 4 / 8, (1 + 1 / 2) / 2),
        ("max_margin", 0.05, 0 / 8, (1 + 1 / 3) / 2),
    ],
)
def test_each_threshold_has_its_prompts_and_its_map(
    context: RunContext, key: str, threshold: float, kept: float, map_: float
) -> None:
    points = curve(context, "second", key)
    assert len(points) == figures_llm.STEPS
    assert at(points, threshold) == pytest.approx((kept, map_))


def test_prompts_are_counted_as_the_pipeline_asks_them(folder: Path) -> None:
    """Listwise: a query with a candidate costs one prompt, whatever the number."""
    points = curve(make_bench(folder, second="listwise"), "second", "min_score")
    assert [at(points, threshold)[0] for threshold in (0.0, 0.45, 0.55, 0.65, 1.0)] == [1, 1, 1, 0.5, 0]


def test_a_score_at_the_threshold_is_kept_as_the_pipeline_keeps_it(context: RunContext) -> None:
    """In the precision of the table 0.7 and 0.9 are less than in the curve's own."""
    write_table(context, "first", {"20_A": [(1, 0.9), (0, 0.7)], "20_B": [(20, 0.9), (1, 0.7)]})
    write_table(context, "second", {"20_A": [(0, 0.5), (1, 0.3)], "20_B": [(1, 0.4), (20, 0.3)]})
    points = curve(context, "second", "min_score")
    assert at(points, 0.7)[0] == 1.0
    assert at(points, 0.9)[0] == 0.5


def test_thresholds_of_log_odds_span_the_scores(context: RunContext) -> None:
    first = context.config.pipeline_named("first")
    context = dataclasses.replace(context, config=context.config.changed(first, scores="logits"))
    write_table(context, "first", {"20_A": [(1, 4.0), (0, -3.0)], "20_B": [(20, 2.0), (1, 1.0)]})
    write_table(context, "second", {"20_A": [(0, 0.5), (1, 0.3)], "20_B": [(1, 0.4), (20, 0.3)]})
    points = {key: curve(context, "second", key) for key in figures_llm.KEYS}
    spans = {key: (found["threshold"].min(), found["threshold"].max()) for key, found in points.items()}
    assert spans == {"min_score": (-3.0, 4.0), "max_top1": (-3.0, 4.0), "max_margin": (0.0, 7.0)}
    kept = points["min_score"]["kept"]
    assert [kept[0], kept[9], kept[14], kept[20]] == [1.0, 0.75, 0.5, 0.25]  # at -3, 0.15, 1.9 and 4
    write_table(context, "first", {"20_A": [(1, 0.9), (0, 0.5)], "20_B": [(20, 0.7), (1, 0.2)]})
    within = curve(context, "second", "min_score")["threshold"]
    assert (within.min(), within.max()) == pytest.approx((0.2, 0.9))  # which are no probabilities
    assert points["max_margin"]["kept"][5] == 0.5  # at 1.75 only 20_B, whose margin is 1, is asked about


def test_a_candidate_that_was_never_scored_is_kept(context: RunContext) -> None:
    write_table(context, "first", {"20_A": FIRST["20_A"][:1], "20_B": FIRST["20_B"]})
    kept, _ = at(curve(context, "second", "min_score"), 1.0)
    assert kept == pytest.approx(3 / 8)


def test_it_selects_by_the_candidates_of_a_pipeline_that_has_no_select(context: RunContext) -> None:
    write_table(context, "knockout", {query: ids[:3] for query, ids in SECOND.items()})
    points = curve(context, "knockout", "max_top1")  # by `second`, whose best have 0.5 and 0.4
    assert at(points, 0.55)[0] == 1.0
    assert at(points, 0.45)[0] == 0.5
    assert at(points, 0.35)[0] == 0.0


def test_without_labels_the_prompts_are_still_told(context: RunContext) -> None:
    for labels in (None, pd.DataFrame({"query_id": [], "label_id": []})):
        unlabelled = dataclasses.replace(context, task=dataclasses.replace(context.task, truth=labels))
        points = curve(unlabelled, "second", "min_score")
        assert points["map"].isna().all()
        assert points["kept"].iloc[[0, -1]].tolist() == [1.0, 0.0]
        figure = trade_off(unlabelled, "second")
        assert figure.axes[0].get_ylabel() == "threshold (no labels are known)"
        texts(figure)


@pytest.mark.parametrize("stage", ["first", "ce"])
def test_where_there_is_nothing_to_select_by_that_is_said(context: RunContext, stage: str) -> None:
    """`first` reads a retrieval, whose scores are no probabilities, and `ce` a tournament."""
    write_table(context, "knockout", SECOND)
    write_table(context, "ce", SECOND)
    points = curve(context, stage, "min_score")
    assert points.empty and list(points.columns) == ["threshold", "kept", "map"]
    assert "No earlier pipeline's scores are there to select by" in texts(trade_off(context, stage))


@pytest.mark.parametrize("missing", ["first", "second"])
def test_without_a_table_there_is_no_curve(context: RunContext, missing: str) -> None:
    context.config.table_path(missing, context.run).unlink()
    assert curve(context, "second", "max_top1").empty
    assert "No earlier pipeline's scores" in texts(trade_off(context, "second"))


def test_the_trade_off_draws_a_line_for_each_key(context: RunContext) -> None:
    figure = trade_off(context, "second")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == ["min_score", "max_top1", "max_margin"]
    for line, key in zip(axes.get_lines(), figures_llm.KEYS, strict=True):
        points = curve(context, "second", key)
        np.testing.assert_allclose(line.get_xdata(), 100 * points["kept"])
        np.testing.assert_allclose(line.get_ydata(), points["map"])
    shown = texts(figure)
    assert "What select would spare second, and cost" in shown
    assert "MAP@25" in shown and "0.00" in shown


# The prompt.


@pytest.fixture
def model(context: RunContext) -> Path:
    folder = context.config.path.parent / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("reason", "<|im_start|>user\nWhy? {question}<|im_end|>\n<|im_start|>assistant\n"),
        (
            "first",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
            "{wrong} because: {names[0]}?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "knockout",
            "<|im_start|>user\n{wrong}\nA. {names[1]}\nB. {names[2]}\nC. {names[3]}<|im_end|>\n"  # the tail plays first
            "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
    ],
)
@pytest.mark.usefixtures("model")
def test_the_prompt_is_the_first_query_s_as_the_model_reads_it(context: RunContext, stage: str, expected: str) -> None:
    query: dict[str, Any] = context.task.queries.iloc[0].to_dict()
    shown = figures_llm.prompt(context, stage)
    text, _, tail = shown.rpartition("\n\n(")
    assert text == expected.format(**query, names=context.task.texts)
    assert tail == f"{len(make_tokenizer()(text, add_special_tokens=False)['input_ids'])} tokens)"


def test_a_stage_that_reads_no_prompt_says_so(context: RunContext) -> None:
    assert figures_llm.prompt(context, "ce") == "ce reads no prompt"


# Reasons.


def written(context: RunContext, text: str) -> pd.DataFrame:
    queries = context.task.queries["query_id"]
    return pd.DataFrame({"query_id": queries, "reason": [text] * len(queries)})


def test_reasons_escape_what_a_model_has_written(context: RunContext) -> None:
    shown = figures_llm.reasons(written(context, "<script>alert(1)</script> costs $5 & $6\nso"), context.task).data
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; costs <span>$</span>5 &amp; <span>$</span>6<br>so" in shown
    assert f"<p>{len(context.task.queries)} of {len(context.task.queries)} queries, evenly" in shown


def test_reasons_escape_what_a_query_says(context: RunContext) -> None:
    test = context.task.queries.assign(question="Is <img src=x> it?", wrong="<b>no</b>")
    shown = figures_llm.reasons(written(context, "x"), dataclasses.replace(context.task, queries=test)).data
    assert "<img" not in shown and "<b>no" not in shown
    assert "<b>&lt;b&gt;no&lt;/b&gt;</b>" in shown


def test_reasons_are_shown_evenly_from_the_first_to_the_last(context: RunContext) -> None:
    queries = context.task.queries["query_id"].tolist()
    table = pd.DataFrame({"query_id": queries, "reason": [f"said of {query}." for query in queries]})
    shown = figures_llm.reasons(table, context.task, count=3).data
    assert [query for query in queries if f"said of {query}." in shown] == [queries[0], queries[4], queries[8]]
    few = figures_llm.reasons(table.head(2), context.task).data
    assert few.count("said of") == 2 and "<p>2 of 2 queries" in few


@pytest.mark.parametrize(
    ("said", "title"),
    [
        (["one two three", "one", ""], "Words written about a query (median 1, 1 empty)"),
        (["", "", ""], "Words written about a query (median 0, 3 empty)"),
    ],
)
def test_the_lengths_of_reasons_are_in_words(said: list[str], title: str) -> None:
    figure = figures_llm.reason_lengths(pd.DataFrame({"query_id": ["a", "b", "c"], "reason": said}))
    assert title in texts(figure)
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3
