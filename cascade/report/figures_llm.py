"""What the notebooks of LLM stages show: the prompt, what was written, and what each threshold would spare and cost."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from cascade.competitions.base import Query, Task
from cascade.config.schema import LLMPipeline
from cascade.config.selecting import PROBABILITIES, RANKS, Select
from cascade.models import locate, prompters
from cascade.models.prompts import query_fields
from cascade.rankings import metrics
from cascade.rankings.selection import PAIR, skipped_queries
from cascade.rankings.windows import prompt_count
from cascade.report.figures import COLOURS, GREY
from cascade.report.markup import as_html
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Given
from cascade.stages import reading
from cascade.stages.context import RunContext

KEYS = ("min_score", "max_top1", "max_margin")
STEPS = 21


def prompt(context: RunContext, stage: str) -> str:
    """The first query's prompt as the model reads it, and its length: to be looked at before hours are spent on it."""
    model = context.config.language_models().get(stage)
    if model is None:
        return f"{stage} reads no prompt"
    folder = locate.model_path(model.model, context.config.path.parent)
    prompter = prompters.open_prompter(model, context.config, prompters.load_tokenizer(model, folder), 1 << 30)
    query = context.queries().iloc[0]
    fields = query_fields(query.to_dict())
    if isinstance(model, LLMPipeline):
        given = reading.candidates(context, model.candidates)
        ids = given["label_id"][given["query_id"] == query["query_id"]].head(model.top_k).tolist()
        question, *_ = next(ask(model, [Given(query["query_id"], fields, ids)], context.task.texts))
        fields = dict(question.variants[0])
    text = prompter.text(fields)
    return f"{text}\n\n({len(prompter.encode([text])[0])} tokens)"


def reasons(table: pd.DataFrame, task: Task, count: int = 12) -> HTML:
    """`count` queries, evenly over the test, with what was written about each."""
    written = dict(zip(table["query_id"], table["reason"], strict=True))
    queries = task.queries[task.queries["query_id"].isin(written)]
    chosen = queries.iloc[np.unique(np.linspace(0, len(queries) - 1, count).round().astype(int))]
    rows = [
        f"<tr style='background:none'><td style='text-align:left'>{_shown(task, query)}</td>"
        f"<td style='text-align:left'>{as_html(written[query['query_id']])}</td></tr>"
        for query in chosen.to_dict("records")
    ]
    head = f"<p>{len(chosen)} of {len(queries)} queries, evenly over the test.</p>"
    return HTML(f"{head}<table style='max-width:60em'>{''.join(rows)}</table>")  # type: ignore[no-untyped-call]


def _shown(task: Task, query: Query) -> str:
    (_, main), *others = task.competition.show(query)
    lines = [as_html(main), *(f"{as_html(heading)}: <b>{as_html(text)}</b>" for heading, text in others)]
    return "<br>".join(lines)


def reason_lengths(table: pd.DataFrame) -> Figure:
    """How many words were written about a query: a heap at the right end was cut off by `max_tokens`."""
    words = pd.Series([len(text.split()) for text in table["reason"]])
    figure: Figure
    figure, axes = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    axes.hist(words, bins=range(int(words.max()) + 2), color=COLOURS[0], align="left")
    axes.set_title(f"Words written about a query (median {words.median():.0f}, {(words == 0).sum()} empty)", loc="left")
    axes.set(xlabel="words", ylabel="queries")
    axes.spines[["top", "right"]].set_visible(False)
    plt.close(figure)
    return figure


def curve(context: RunContext, pipeline: str, key: str) -> pd.DataFrame:
    """`threshold, kept, map` for values of one key of `select`, against what the pipeline has scored.

    kept: the share of the pipeline's prompts that are left; map: MAP of its ranking with what is left,
    a query's rest in the order it had before (NaN without labels). Empty where there is nothing to select by.
    """
    settings = context.config.pipeline_named(pipeline)
    name = (settings.select and settings.select.by) or settings.candidates
    earlier, by = context.config.find_pipeline(name), reading.read_table(context, name)
    own = reading.read_table(context, pipeline)
    if earlier is None or earlier.scale == RANKS or by is None or own is None:
        return pd.DataFrame(columns=["threshold", "kept", "map"])
    joined = own.merge(by[[*PAIR, "score"]], on=PAIR, how="left", suffixes=("", "_by"))
    before = reading.candidates(context, settings.candidates)
    prompts = own.groupby("query_id").size()
    rows = []
    for threshold in _thresholds(by, key, earlier.scale):  # a table's own float32 decides what is below
        if key == "min_score":
            left = joined[~(joined["score_by"] < threshold)]
        else:
            skip = skipped_queries(by, Select.model_validate({"by": name, key: float(threshold)}))
            left = joined[~joined["query_id"].isin(skip)]
        sizes = left.groupby("query_id").size()
        kept = (
            sizes.map(lambda n: prompt_count(settings, n)).sum()
            / prompts.map(lambda n: prompt_count(settings, n)).sum()
        )
        rows.append((float(threshold), float(kept), _map(context, left, before)))
    return pd.DataFrame(rows, columns=["threshold", "kept", "map"])


def _thresholds(by: pd.DataFrame, key: str, scale: str) -> list[float]:
    """Values of a key of `select` for the scores of `by`: from 0 to 1 for probabilities, else all that occur."""
    lowest, highest = 0.0, 1.0
    if scale != PROBABILITIES:
        lowest, highest = float(by["score"].min()), float(by["score"].max())
        if key == "max_margin":
            lowest, highest = 0.0, highest - lowest
    return [float(value) for value in np.linspace(lowest, highest, STEPS)]


def _map(context: RunContext, first: pd.DataFrame, then: pd.DataFrame) -> float:
    """MAP of `first`'s order, followed by what of `then` it lacks; NaN without labels."""
    if context.task.truth is None or not len(context.task.truth):
        return float("nan")
    both = pd.concat([first[PAIR], then[PAIR]]).drop_duplicates(PAIR)
    ranks = both.groupby("query_id", sort=False).cumcount().add(1)
    return metrics.map_at(metrics.ranks_of_labels(both.assign(rank=ranks), context.task.truth), context.task.depth)


def trade_off(context: RunContext, pipeline: str) -> Figure:
    """MAP against the prompts that are left, a line for each key of `select`, some thresholds written beside.

    Only what the pipeline has scored can be judged: run it without `select` for the whole picture.
    """
    figure: Figure
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    axes.set_title(f"What select would spare {pipeline}, and cost", loc="left")
    axes.set_xlabel("prompts left (% of those it has scored)")
    drawn = False
    for colour, key in zip(COLOURS, KEYS, strict=False):
        points = curve(context, pipeline, key)
        if points.empty:
            continue
        labelled = points["map"].notna().all()
        y = points["map"] if labelled else points["threshold"]
        axes.set_ylabel(f"MAP@{context.task.depth}" if labelled else "threshold (no labels are known)")
        axes.plot(100 * points["kept"], y, "o-", markersize=3, color=colour, label=key)
        for _, point in points.drop_duplicates("kept").iloc[::4].iterrows():
            height = point["map"] if labelled else point["threshold"]
            axes.annotate(f"{point['threshold']:.2f}", (100 * point["kept"], height), (3, 4),
                          textcoords="offset points", fontsize=7, color=colour)  # fmt: skip
        drawn = True
    if drawn:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    else:
        axes.set_axis_off()
        figure.text(0.5, 0.5, "No earlier pipeline's scores are there to select by", ha="center", color=GREY)
    plt.close(figure)  # else a notebook shows it twice
    return figure
