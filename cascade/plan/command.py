"""`python -m cascade plan`: reads, works out, shows; or calibrates."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cascade.base import folder
from cascade.competitions import registry
from cascade.config import schema as configs
from cascade.plan import calibration, ledgers, report
from cascade.plan import profile as profiles
from cascade.plan.forecast import forecast
from cascade.plan.profile import default_profile
from cascade.plan.settings import single_changes, together
from cascade.plan.workload import Planner
from cascade.stages import resume
from cascade.stages.context import RunContext

ENOUGH_LABELS = 0.9  # of the competition's: with fewer the plan says so


def plan(config: Path, data: Path, queries: int | None, profile: Path | None, engine: str, picture: Path) -> int:
    """Prints the plan and draws it; 0 if the run fits its time, else 1. Raises CascadeError for what cannot be read."""
    folder.check_file(picture, "plan")
    settings = configs.load(config, engine)
    known = profiles.load(profile or default_profile(settings))
    planner = Planner(settings, registry.of(settings).read(data), known, queries)
    found = forecast(settings, known, planner.stages(settings, known))
    console = Console(width=max(120, Console().width), highlight=False, soft_wrap=True)
    console.print(report.table(found, planner.queries, config.name))
    for line in [*_unlike(planner), *report.notes(found, sorted(planner.counter.unread))]:
        console.print(line, markup=False, style="dim")
    report.draw(found, settings, picture)
    for line in report.verdict(found, settings):
        console.print(line, markup=False, style="bold")
    if not found.fits:
        with console.status("planning again with other settings"):
            alone = single_changes(planner, settings, known, found)
            needed = [] if any(turn.fits for turn in alone) else together(planner, found, alone)
        console.print("\n".join(report.advice(alone, needed)), markup=False)
    console.print(str(picture), markup=False)
    return 0 if found.fits else 1


def _unlike(planner: Planner) -> list[str]:
    """What a plan for other queries than the data's cannot tell: labels are as many as the data has."""
    labels, full = len(planner.task.labels), planner.task.competition.hidden_labels
    if planner.queries <= len(planner.task.queries) or labels >= ENOUGH_LABELS * full:
        return []
    return [
        f"{planner.task.folder} has {labels:,} labels, the competition {full:,}, which take longer: "
        f"plan with the competition's folder as DATA"
    ]


def calibrate(config: Path, data: Path, paths: list[Path], profile: Path | None, engine: str, out: Path | None) -> None:
    """Writes a profile from ledgers of the config's own runs on the data, and says what it learnt."""
    path = out or Path("build/profiles") / f"{config.stem}.toml"
    folder.check_file(path, "plan")
    settings = configs.load(config, engine)
    base = profiles.load(profile or default_profile(settings))
    task = registry.of(settings).read(data)
    runs = ledgers.read(paths, resume.identity(RunContext(settings, task, paths[0].parent)))
    source = f"calibrated: {', '.join(map(str, paths))}"
    made = calibration.calibrate(settings, task, base, runs, source)
    calibration.write(made, path)
    for line in runs.said:
        print(line)
    fresh = [rate for rate in made.rate if rate.source == source]
    for rate in fresh:
        costs = {name: getattr(rate, name) for name in ("load", "prompt", "token", "written")}
        print(f"{rate.stage} {rate.kind}: " + ", ".join(f"{name} {cost:.4g} s" for name, cost in costs.items() if cost))
    print(f"{path}: {len(fresh)} rates; plan with PROFILE={path}")
