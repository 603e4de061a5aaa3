"""The plan as a table, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from cascade.base import atomic, folder
from cascade.config.schema import Config
from cascade.plan.forecast import Forecast, Stage
from cascade.plan.settings import Change

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"  # Okabe and Ito's


def clock(seconds: float) -> str:
    """`1:02:03` from the start."""
    rounded = round(seconds)
    return f"{rounded // 3600}:{rounded // 60 % 60:02}:{rounded % 60:02}"


def span(seconds: float) -> str:
    """`45 s`, `12.3 min` or `2.10 h`: to three figures."""
    if abs(seconds) < 120:
        return f"{seconds:.0f} s" if abs(seconds) >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if abs(seconds) < 7200 else f"{seconds / 3600:.2f} h"


def table(forecast: Forecast, queries: int, name: str) -> Table:
    """One row a stage; tokens in thousands; `!` marks a limit that is passed, `?` a time that no rate is known for."""
    shown = Table(title=f"{name}: {queries:,} queries")
    shown.add_column("stage", no_wrap=True)
    for label in ("queries", "prompts", "k tokens", "cached", "written", "load", "time", "±", "limit", "clock"):
        shown.add_column(label, justify="right")
    for stage in forecast.stages:
        shown.add_row(*_cells(stage))
    shown.add_section()
    end = (span(forecast.seconds), span(forecast.spread), span(forecast.available), clock(forecast.seconds))
    shown.add_row("all", *[""] * 6, *end)
    return shown


def _cells(stage: Stage) -> list[str]:
    works = [part.work for part in stage.parts if part.work.kind in ("llm", "embedding", "cross-encoder")]
    counts = [sum(getattr(work, key) for work in works) for key in ("prompts", "tokens", "cached", "written")]
    prompts, *tokens = counts
    limit = stage.work.limit
    return [
        stage.name,
        f"{stage.work.queries:,.0f}" if stage.work.queries else "",
        f"{prompts:,.0f}" if prompts else "",
        *(f"{count / 1000:,.0f}" if count else "" for count in tokens),
        span(stage.load) if stage.load else "",
        span(stage.seconds) + (" ?" if stage.unknown else ""),
        span(stage.spread),
        "" if limit is None else span(limit) + (" !" if stage.over else ""),
        clock(stage.end),
    ]


def verdict(forecast: Forecast, config: Config) -> list[str]:
    """Whether it fits, and what is too long."""
    time = config.time
    have = f"{span(time.available)} ({span(time.limit)} less {span(time.reserve)} reserve)"
    took = f"{span(forecast.seconds)} ± {span(forecast.spread)}"
    left = forecast.available - forecast.seconds
    lines = []
    if left < 0:
        lines.append(f"does not fit: {took} of {have}, {span(-left)} too long")
    lines += [
        f"does not fit: {stage.name} takes {span(stage.seconds)}, {span(stage.over)} past its own limit"
        for stage in forecast.stages if stage.over
    ]  # fmt: skip
    if not lines:
        tight = "" if left >= forecast.spread else "; the upper end of its uncertainty does not"
        lines.append(f"fits: {took} of {have}, {span(left)} left{tight}")
    return lines


def notes(forecast: Forecast, unread: Sequence[str]) -> list[str]:
    """What the figures rest on: assumptions, missing rates, and a source for each rate used."""
    lines = []
    for stage in forecast.stages:
        lines += [f"{stage.name}: {note}" for note in stage.work.notes]
        lines += [
            f"{stage.name}: no rate is known for {part.work.model or part.work.kind}; planned as anything from 0 to "
            f"its limit: calibrate from a run of it"
            for part in stage.unknown
        ]
    lines += [f"{model} is not available: its tokens are estimated from characters" for model in unread]
    rates = {id(part.rate): part.rate for stage in forecast.stages for part in stage.parts if part.rate is not None}
    sources = dict.fromkeys((rate.kind, rate.model, rate.source) for rate in rates.values())
    lines += [f"{' '.join(filter(None, (kind, model)))}: {source}" for kind, model, source in sources]
    return list(dict.fromkeys(lines))


def advice(alone: Sequence[Change], together: Sequence[Change] = ()) -> list[str]:
    """Each setting that alone makes the run fit, or else those that do together, or come closest to it."""
    enough = [turn for turn in alone if turn.fits]
    if enough:
        return ["any one of these makes it fit:", *(f"  {_turned(turn)}" for turn in enough)]
    if not together:
        return ["no setting makes it any shorter"]
    left = together[-1].then.missing
    found = f"these leave it {span(left)} too long" if left else "these do"
    return [f"no setting alone makes it fit; together {found}:", *(f"  {_turned(turn)}" for turn in together)]


def _turned(turn: Change) -> str:
    return turn.sentence + (f", saves {span(turn.saved)}" if turn.saved > 0 else "")


def draw(forecast: Forecast, config: Config, path: Path) -> None:
    """A bar a stage on the time axis, a whisker for the uncertainty of its end, the deadline and the limit marked."""
    from matplotlib.figure import Figure

    unit, name = (3600.0, "hours") if config.time.limit >= 7200 else (60.0, "minutes")
    figure = Figure(figsize=(9, 0.36 * len(forecast.stages) + 1.6), layout="constrained")
    axes = figure.subplots()
    for y, stage in enumerate(forecast.stages):
        _bar(axes, y, stage, unit)
    axes.axvline(forecast.available / unit, color=ORANGE, linestyle="--", linewidth=1, label="deadline")
    axes.axvline(config.time.limit / unit, color="black", linewidth=1, label="limit")
    axes.plot([], [], "|", color=GREY, markersize=10, label="a stage's own limit")
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    axes.set_yticks(range(len(forecast.stages)), [stage.name for stage in forecast.stages])
    axes.set_ylim(len(forecast.stages) - 0.5, -0.5)
    axes.set(xlabel=f"{name} from the start", xlim=(0, None))
    title = f"{span(forecast.seconds)} ± {span(forecast.spread)} of {span(forecast.available)}"
    axes.set_title(title, loc="left", color="black" if forecast.fits else ORANGE)
    axes.spines[["top", "right"]].set_visible(False)
    key = {".png": "Software", ".pdf": "Creator", ".svg": "Creator"}.get(path.suffix)
    with atomic.replaced(path) as partial:
        figure.savefig(partial, dpi=120, metadata={key: folder.mark("plan")} if key else None)


def _bar(axes: Axes, y: int, stage: Stage, unit: float) -> None:
    colour = ORANGE if stage.over else GREY if stage.unknown else BLUE
    axes.barh(y, stage.seconds / unit, left=stage.start / unit, color=colour, alpha=0.55)
    axes.barh(y, stage.load / unit, left=stage.start / unit, color=colour)
    axes.errorbar(stage.end / unit, y, xerr=stage.spread / unit, color="black", capsize=3, linewidth=1)
    if stage.work.limit is not None:
        axes.plot([(stage.start + stage.work.limit) / unit] * 2, [y - 0.4, y + 0.4], color=GREY, linewidth=1)
