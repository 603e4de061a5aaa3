"""`python -m cascade plan`: reads, works out, shows; or calibrates."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cascade import config as configs
from cascade import data as csvs
from cascade import resume
from cascade.config import Config
from cascade.plan import calibration, ledgers, report
from cascade.plan import profile as profiles
from cascade.plan.forecast import forecast
from cascade.plan.settings import turns
from cascade.plan.workload import Planner
from cascade.stages import Bench


def plan(config: Path, data: Path, queries: int | None, profile: Path | None, engine: str, picture: Path) -> int:
    """Prints the plan and draws it; 0 if the run fits its time, else 1. Raises CascadeError for what cannot be read."""
    settings = configs.load(config, engine)
    known = profiles.load(profile or default_profile(settings))
    planner = Planner(settings, csvs.read(data), known, queries)
    found = forecast(settings, known, planner.stages(settings, known))
    console = Console(width=max(120, Console().width), highlight=False, soft_wrap=True)
    console.print(report.table(found, planner.queries, config.name))
    for line in report.notes(found, sorted(planner.counter.unread)):
        console.print(line, markup=False, style="dim")
    report.draw(found, settings, picture)
    for line in report.verdict(found, settings):
        console.print(line, markup=False, style="bold")
    if not found.fits:
        with console.status("planning again with other settings"):
            advice = report.advice(turns(planner, settings, known, found))
        console.print("\n".join(advice), markup=False)
    console.print(str(picture), markup=False)
    return 0 if found.fits else 1


def calibrate(config: Path, data: Path, paths: list[Path], profile: Path | None, engine: str, out: Path | None) -> None:
    """Writes a profile from ledgers of the config's own runs on the data, and says what it learnt."""
    settings = configs.load(config, engine)
    base = profiles.load(profile or default_profile(settings))
    competition = csvs.read(data)
    runs = ledgers.read(paths, resume.identity(Bench(settings, competition, paths[0].parent)))
    source = f"calibrated: {', '.join(map(str, paths))}"
    made = calibration.calibrate(settings, competition, base, runs, source)
    path = out or Path("build/profiles") / f"{config.stem}.toml"
    calibration.write(made, path)
    for line in runs.said:
        print(line)
    fresh = [rate for rate in made.rate if rate.source == source]
    for rate in fresh:
        costs = {name: getattr(rate, name) for name in ("load", "prompt", "token", "written")}
        print(f"{rate.stage} {rate.kind}: " + ", ".join(f"{name} {cost:.4g} s" for name, cost in costs.items() if cost))
    print(f"{path}: {len(fresh)} rates; plan with PROFILE={path}")


def default_profile(config: Config) -> Path:
    """That of 2×T4 for a config that names GPUs, else that of a CPU."""
    on_gpu = any(device != "cpu" for device in config.devices or [])
    return profiles.PROFILES / ("t4x2.toml" if on_gpu else "cpu.toml")
