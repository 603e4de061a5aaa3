"""What the stage notebooks show: figures from ranking tables and the ledger, and example queries as HTML.

Whatever needs labels says so in the picture where the data has none, and shows what it can without them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from cascade.base import ledger
from cascade.competitions.base import Task
from cascade.rankings import metrics
from cascade.report import timeline
from cascade.report.markup import as_html

# Okabe and Ito's colours, which the colour-blind can tell apart too.
BLUE, ORANGE, GREEN, PINK, SKY, GOLD, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#777777"
COLOURS = [BLUE, ORANGE, GREEN, PINK, SKY, GOLD, GREY]
SEEN_COLOUR, UNSEEN_COLOUR = BLUE, ORANGE
DEPTHS = range(1, 101)
NO_LABELS = "No labels are known for these queries"


def score_histogram(table: pd.DataFrame, task: Task) -> Figure:
    """How the scores are spread: of all candidates, of each query's first, and of the right answer (with labels)."""
    figure, axes = _axes("Scores of the candidates", "score", "share of its group (%)")
    groups = [
        ("all candidates", table["score"], GREY),
        ("first of each query", table["score"][table["rank"] == 1], BLUE),
    ]
    labels = _labels(task)
    if labels is None:
        _note(figure, f"{NO_LABELS}: the right answers' scores are not shown.")
    else:
        groups.append(("right answer, where it is a candidate", labels.merge(table)["score"], ORANGE))
    bins = np.histogram_bin_edges(table["score"], bins=40)
    for name, scores, colour in groups:
        weights = np.full(len(scores), 100 / max(len(scores), 1))
        axes.hist(scores, bins, weights=weights, color=colour, alpha=0.15)
        axes.hist(
            scores, bins, weights=weights, color=colour, histtype="step", linewidth=1.6, label=_count(name, scores)
        )
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False)
    return _done(figure)


def recall_curves(tables: Mapping[str, pd.DataFrame], task: Task) -> Figure:
    """Recall@k for k = 1…100, a colour a table: all queries solid, seen dashed, unseen dotted; MAP in the legend."""
    figure, axes = _axes("How far down the right answer stands", "k (candidates kept of each query)", "recall@k (%)")
    axes.set(xscale="log", xlim=(1, DEPTHS[-1]), ylim=(0, 1))
    axes.xaxis.set_major_formatter(FuncFormatter(_rank_name))
    axes.set_xticks([1, 2, 5, 10, 25, 50, 100])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    labels = _labels(task)
    if labels is None:
        return _empty(figure, f"{NO_LABELS}: there is no recall to draw.")
    seen = _is_seen(labels, task)
    lines = []
    for number, (name, table) in enumerate(tables.items()):
        colour = COLOURS[number % len(COLOURS)]
        ranks = metrics.ranks_of_labels(table, labels)
        for part, style, width in ((np.full(len(seen), True), "-", 2.2), (seen, "--", 1.0), (~seen, ":", 1.2)):
            if part.any():
                recall = [metrics.recall_at(ranks[part], depth) for depth in DEPTHS]
                axes.plot(DEPTHS, recall, style, color=colour, linewidth=width)
        lines.append(
            Line2D(
                [],
                [],
                color=colour,
                linewidth=2.2,
                label=f"{name}: MAP@{task.depth} {metrics.map_at(ranks, task.depth):.3f}",
            )
        )
    for style, width, name in (
        ("-", 2.2, _count("all", seen)),
        ("--", 1.0, _count("seen in train", seen[seen])),
        (":", 1.2, _count("unseen", seen[~seen])),
    ):
        lines.append(Line2D([], [], color="black", linestyle=style, linewidth=width, label=name))
    figure.legend(handles=lines, frameon=False, loc="outside lower center", ncols=2)
    return _done(figure)


def moves(
    before: pd.DataFrame, after: pd.DataFrame, task: Task, names: tuple[str, str] = ("before", "after")
) -> Figure:
    """How far a stage moved the right answer: its rank before against its rank after, seen and unseen coloured.

    A dot's area is the number of queries; a table that lacks the answer puts it on the band "absent".
    Without labels: where each query's new first candidate stood before.
    """
    labels = _labels(task)
    if labels is None:
        return _origins_of_first(before, after, names)
    ranks = [metrics.ranks_of_labels(table, labels).to_numpy() for table in (before, after)]
    longest = max(2.0, *(np.nan_to_num(part).max() for part in ranks))
    absent = longest * 1.6
    figure, axes = _axes("", f"rank in {names[0]}", f"rank in {names[1]}", (6.4, 6.4))
    axes.set(xscale="log", yscale="log", xlim=(0.75, absent * 1.3), ylim=(absent * 1.3, 0.75), aspect="equal")
    axes.plot([0.75, longest * 1.25], [0.75, longest * 1.25], color=GREY, linewidth=0.8, zorder=0)
    for axis, span in ((axes.xaxis, axes.axvspan), (axes.yaxis, axes.axhspan)):
        span(longest * 1.25, absent * 1.3, color=GREY, alpha=0.15, linewidth=0)
        ticks = [tick for tick in (1, 2, 5, 10, 25, 50, 100) if tick <= longest]
        axis.set_ticks([*ticks, absent], labels=[*map(str, ticks), "absent"])
        axis.set_ticks([], minor=True)
    axes.text(longest, 1.4, "better", ha="right", color=GREY, style="italic")
    axes.text(0.8, longest, "worse", color=GREY, style="italic")
    seen = _is_seen(labels, task)
    legend = []
    for part, name, colour, shift in ((seen, "seen", SEEN_COLOUR, 1 / 1.05), (~seen, "unseen", UNSEEN_COLOUR, 1.05)):
        if not part.any():
            continue
        was, now = (np.where(np.isnan(rank[part]), absent, rank[part]) for rank in ranks)
        dots = pd.DataFrame({"was": was, "now": now}).value_counts().reset_index(name="count")
        area = 14 * dots["count"] if len(seen) < 1000 else 14_000 / len(seen) * dots["count"]
        axes.scatter(dots["was"] * shift, dots["now"], area, color=colour, alpha=0.6, linewidth=0.4, edgecolor="white")
        before_map, after_map = (metrics.map_at(pd.Series(rank[part]), task.depth) for rank in ranks)
        counts = f"{(now < was).sum()} better, {(now == was).sum()} same, {(now > was).sum()} worse"
        label = f"{name}: {counts}; MAP@{task.depth} {before_map:.3f} → {after_map:.3f}"
        legend.append(Line2D([], [], marker="o", linestyle="", color=colour, alpha=0.7, label=label))
    axes.legend(handles=legend, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    was, now = (np.nan_to_num(rank, nan=absent) for rank in ranks)
    before_map, after_map = (metrics.map_at(pd.Series(rank), task.depth) for rank in ranks)
    title = f"Where the right answer of {len(seen)} queries went, from {names[0]} to {names[1]}"
    counts = f"{(now < was).sum()} better, {(now == was).sum()} same, {(now > was).sum()} worse"
    axes.set_title(f"{title}\n{counts}; MAP@{task.depth} {before_map:.3f} → {after_map:.3f}", loc="left")
    return _done(figure)


def _origins_of_first(before: pd.DataFrame, after: pd.DataFrame, names: tuple[str, str]) -> Figure:
    first = after.loc[after["rank"] == 1, ["query_id", "label_id"]]
    was = first.merge(before, how="left")["rank"]
    edges = [(1, 1), (2, 2), (3, 5), (6, 10), (11, 25), (26, 50), (51, 100), (101, np.inf)]
    bars = {f"{low}" if low == high else f"{low}–{high}": was.between(low, high).sum() for low, high in edges[:-1]}
    bars |= {"> 100": (was > 100).sum(), "absent": was.isna().sum()}
    figure, axes = _axes(f"Where {names[1]}'s first candidates come from", f"rank in {names[0]}", "queries")
    axes.bar_label(axes.bar(list(bars), list(bars.values()), color=BLUE))
    _note(figure, f"{NO_LABELS}:\nthese are the moves of each query's new first candidate, not of the right answer.")
    return _done(figure)


def overlap(tables: Mapping[str, pd.DataFrame], top: int) -> Figure:
    """How alike the tables are: the mean share of the first `top` ids that two have in common, and of equal firsts.

    Over the queries both tables have; a query's share is of the shorter of its two lists.
    """
    common, equal = metrics.agreement(list(tables.values()), top)
    size = max(3.0, 0.8 * len(tables) + 1.4)
    figure, panels = plt.subplots(1, 2, figsize=(2 * size + 1.2, size), layout="constrained", squeeze=False)
    titles = (f"Of the first {top}, in common (%)", "Same first candidate (% of queries)")
    for axes, title, matrix in zip(panels[0], titles, (common, equal), strict=True):
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(title, fontsize=11)
        axes.set_xticks(range(len(tables)), list(tables), rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(tables)), list(tables))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        for (i, j), share in np.ndenumerate(matrix):
            text = "–" if np.isnan(share) else f"{100 * share:.0f}"
            axes.text(j, i, text, ha="center", va="center", color="white" if share > 0.6 else "black")
    return _done(figure)


def times(run: Path) -> Figure:
    """When each stage ran, from the run's ledger: phases as shades, peak memory at the bar's end, failures in orange.

    Triangles are the budget's decisions, the last of each stage in words. Of a stage that ran several times the last
    is shown; long pauses between stages are cut out and marked.
    """
    line = timeline.read(run)
    figure, axes = _axes("When each stage ran", "", "", (7.2, 1.4 + 0.5 * len(line.attempts)))
    if not line.attempts:
        return _empty(figure, f"{run / ledger.FILE} has no entries yet.")
    place, longest = line.place, line.longest
    unit, name = (1, "s") if longest < 180 else (60, "min") if longest < 3 * 3600 else (3600, "h")
    for y, attempt in enumerate(line.attempts.values()):
        start, end, failure = attempt.start, attempt.end, attempt.failure
        colour = ORANGE if failure else BLUE
        axes.barh(y, (end - start) / unit, left=place(start) / unit, color=colour, alpha=0.25)
        for number, phase in enumerate(attempt.phases):
            left, width = place(phase["start"]), phase["end"] - phase["start"]
            axes.barh(y, width / unit, left=left / unit, color=colour, alpha=0.85 if number % 2 else 0.6)
            if width > 0.012 * longest * (len(phase["phase"]) + 1):
                middle = (left + width / 2) / unit
                axes.text(middle, y, phase["phase"], ha="center", va="center", color="white", fontsize=8)
        facts = [f"{(end - start) / unit:.1f} {name}"]
        facts += [f"{memory / 1000:.1f} GB"] if (memory := attempt.peak_memory_mb) is not None else []
        facts += [f"✗ {shorten(failure, 36, placeholder='…')}"] if failure else []
        decided = attempt.cuts
        axes.plot([place(e["end"]) / unit for e in decided], [y - 0.4] * len(decided), "v", color=PINK, clip_on=False)
        facts += [f"▼ {shorten(decided[-1]['decision'], 48, placeholder='…')}"] if decided else []
        text = axes.text(place(end) / unit + 0.01 * longest / unit, y, ", ".join(facts), va="center", fontsize=9)
        text.set_bbox({"facecolor": "white", "linewidth": 0, "alpha": 0.8, "pad": 1.0})
    for end, length in line.cuts:
        axes.axvline(place(end) / unit, color=GREY, linestyle=":")
        axes.text(
            place(end) / unit, -0.4, f"{length / 60:.0f} min pause ", ha="right", va="top", fontsize=8, color=GREY
        )
    axes.set_yticks(range(len(line.attempts)), list(line.attempts))
    axes.set_ylim(len(line.attempts) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel=f"time since the first stage began ({name})", xlim=(0, 1.02 * longest / unit))
    axes.set_title("When each stage ran, and its peak memory", loc="left")
    return _done(figure)


def metrics_table(tables: Mapping[str, pd.DataFrame], task: Task) -> pd.DataFrame:
    """MAP (all, seen, unseen queries) and recall at its depth and at 100 of each table; empty cells without labels."""
    depth, recalls = task.depth, (task.depth, DEPTHS[-1])
    columns = {"map": f"MAP@{depth}", "map_seen": f"MAP@{depth} seen", "map_unseen": f"MAP@{depth} unseen"}
    columns |= {f"recall_{k}": f"recall@{k}" for k in recalls}
    labels = _labels(task)
    rows = [
        {} if labels is None else metrics.report(table, labels, task.seen, depth, recalls) for table in tables.values()
    ]
    frame = pd.DataFrame(rows, index=pd.Index(list(tables), name="no labels known" if labels is None else "table"))
    return frame.reindex(columns=list(columns)).rename(columns=columns).astype(float).round(3)


def examples(table: pd.DataFrame, task: Task, count: int = 12, top: int = 5) -> HTML:
    """`count` queries with their first `top` candidates and scores, evenly over the rank of the right answer.

    The right answer is marked, and added where it stands further down. Without labels: evenly over the queries.
    """
    labels = _labels(task)
    order = pd.Series(table["query_id"].unique())
    right: dict[str, int] = {}
    if labels is not None and order.isin(labels["query_id"]).any():
        known = labels[labels["query_id"].isin(order)]
        right = dict(zip(known["query_id"], known["label_id"].tolist(), strict=True))
        order = pd.Series(metrics.ranks_of_labels(table, known).sort_values(kind="stable").index)
    chosen = order.iloc[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]
    queries = {query["query_id"]: query for query in task.queries.to_dict("records")}
    rankings = dict(iter(table[table["query_id"].isin(chosen)].groupby("query_id")))
    blocks = [_example(queries[id_], rankings[id_], task, right.get(id_), top) for id_ in chosen]
    head = "evenly over the rank of the right answer" if right else f"evenly over the queries. {NO_LABELS}"
    return HTML(  # type: ignore[no-untyped-call]
        f"<p>{len(blocks)} of {len(order)} queries, {head}.</p>{''.join(blocks)}"
    )


def _example(query: dict[Hashable, Any], ranking: pd.DataFrame, task: Task, right: int | None, top: int) -> str:
    names, seen = task.texts, task.seen
    (_, main), *others = task.competition.show(query)
    shown = ranking[(ranking["rank"] <= top) | (ranking["label_id"] == right)]
    candidates = list(zip(shown["rank"], shown["label_id"].tolist(), shown["score"], strict=True))
    rank_of_right = next((rank for rank, id_, _ in candidates if id_ == right), None)
    rows = [
        _row(f"{rank}.", f"{score:.3f}", names.get(id_, f"id {id_}"), id_ in seen, id_ == right)
        for rank, id_, score in candidates
    ]
    verdict = ""
    if right is not None:
        where = "is absent" if rank_of_right is None else f"at rank {rank_of_right}"
        verdict = f" · <b>right answer {where}</b> {_badge(right in seen)}"
        if rank_of_right is None:
            rows.append(_row("absent", "", names.get(right, f"id {right}"), right in seen, True))
    return (
        f'<div style="border-top:1px solid {GREY};padding:0.7em 0;max-width:60em">'
        f"<div>{as_html(query['query_id'])}{verdict}</div>"
        f'<div style="margin:0.6em 0">{as_html(main)}</div>'
        f"<div>{' &emsp; '.join(f'{as_html(heading)}: <b>{as_html(text)}</b>' for heading, text in others)}</div>"
        f'<table style="margin:0.6em 0;border-collapse:collapse">{"".join(rows)}</table></div>'
    )


def _row(rank: str, score: str, name: str, seen: bool, right: bool) -> str:
    style = f"text-align:left;{'background:rgba(0,158,115,0.2);font-weight:bold' if right else 'background:none'}"
    cells = (rank, score, f"{'✓ ' if right else ''}{as_html(name)}", _badge(seen))
    return f"<tr>{''.join(f'<td style={chr(34)}{style}{chr(34)}>{cell}</td>' for cell in cells)}</tr>"


def _badge(seen: bool) -> str:
    colour, name = (SEEN_COLOUR, "seen") if seen else (UNSEEN_COLOUR, "unseen")
    return f'<span style="border:1px solid {colour};border-radius:3px;padding:0 4px;font-size:85%">{name}</span>'


def _labels(task: Task) -> pd.DataFrame | None:
    return task.truth if task.truth is not None and len(task.truth) else None


def _is_seen(labels: pd.DataFrame, task: Task) -> np.ndarray:
    is_seen: np.ndarray = labels["label_id"].isin(task.seen).to_numpy()
    return is_seen


def _axes(title: str, x: str, y: str, size: tuple[float, float] = (7.2, 4.4)) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.set_title(title, loc="left")
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _done(figure: Figure) -> Figure:
    plt.close(figure)  # else a notebook shows it twice: as the cell's value and as an open figure
    return figure


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, color=ORANGE, fontsize=9)


def _empty(figure: Figure, text: str) -> Figure:
    figure.axes[0].set_axis_off()
    figure.text(0.5, 0.5, text, ha="center", color=ORANGE)
    return _done(figure)


def _count(name: str, group: Any) -> str:
    return f"{name} (n = {len(group):,})"


def _rank_name(value: float, _: object) -> str:
    return f"{value:g}"
