"""`make verify`: proves, with no network, that the kernel will install and start. What was read is remembered."""

from __future__ import annotations

import shutil
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cascade.config.schema import Config
from packer.proofs import wheel_metadata
from packer.proofs.registry import PROOFS, Proof
from packer.proofs.subject import Finding, Subject
from packer.wheels import locks
from packer.wheels.images import Image
from packer.wheels.locks import LockError

LARGEST = 10  # wheels that the report names
CHAINS = 2  # of who asked, that the report shows


@dataclass(frozen=True)
class Result:
    """One proof. `status`: passed but for notes, failed, or not proved where nothing that it found is worse."""

    proof: str
    findings: list[Finding]

    @property
    def status(self) -> str:
        statuses = {finding.status for finding in self.findings}
        return next((status for status in ("failed", "not proved") if status in statuses), "passed")


@dataclass(frozen=True)
class Report:
    bundle: Subject
    results: list[Result]
    seconds: float

    @property
    def failed(self) -> bool:
        return any(result.status == "failed" for result in self.results)

    @property
    def findings(self) -> list[Finding]:
        return [finding for result in self.results for finding in result.findings]


def verify(image: Image, configs: list[Config], full: bool = False) -> Report:
    """Every proof on the image's wheels; `full` forgets what was read before.

    LockError where there is no lock, or no wheel.
    """
    start = time.monotonic()
    pins = locks.read(image.lock)
    memory = image.project.parent / "build" / "verify" / image.wheels.name
    if full:
        shutil.rmtree(memory, ignore_errors=True)
    there = sorted(image.wheels.iterdir()) if image.wheels.is_dir() else []
    entries = [path for path in there if not path.name.startswith(".")]  # .part: on its way; .DS_Store
    others = [path for path in entries if path.suffix != ".whl"]
    if len(others) == len(entries):
        raise LockError("contains no wheels to verify", path=image.wheels, mend=f"run: make wheels IMAGE={image.name}")
    with _progress(image.wheels) as progress:
        size = sum(path.stat().st_size for path in entries if path.suffix == ".whl")
        task = progress.add_task("", total=size)
        read = wheel_metadata.gather(image.wheels, memory, said=lambda done: progress.advance(task, done))
    bundle = Subject(image, pins, read, others, configs, memory)
    results = [Result(title, _findings(prove, bundle)) for title, prove in PROOFS.items()]
    return Report(bundle, results, time.monotonic() - start)


def _findings(prove: Proof, bundle: Subject) -> list[Finding]:
    try:
        return prove(bundle)
    except (OSError, zipfile.BadZipFile, zlib.error) as error:  # what is damaged inside, its hash has told already
        mend = f"make wheels IMAGE={bundle.image.name}"
        return [Finding("wheels", f"one cannot be read ({error})", mend, status="not proved")]


def _progress(folder: Path) -> Progress:
    columns = (TextColumn(f"{folder}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def show(report: Report, console: Console) -> None:
    """The report, a line a proof, what each found below it, and what takes the most room."""
    marks = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "not proved": "[yellow]?[/]"}
    for result in report.results:
        console.print(f"{marks[result.status]} {result.proof}")
        for finding in result.findings:
            status = "" if finding.status == "failed" else f"{finding.status}: "
            console.print(f"    [bold]{escape(finding.package)}[/]: {status}{escape(finding.wants)}", soft_wrap=True)
            for chain in finding.asked_by[:CHAINS]:
                console.print(f"      required by {escape(chain)}", soft_wrap=True)
            if len(finding.asked_by) > CHAINS:
                console.print(f"      and {len(finding.asked_by) - CHAINS} more")
            if finding.mend:
                console.print(f"      fix: {escape(finding.mend)}", soft_wrap=True)
    _show_sizes(report, console)
    counts = {status: sum(result.status == status for result in report.results) for status in marks}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    console.print(f"{report.bundle.image.name}: {told}; {report.seconds:.1f} s")


def _show_sizes(report: Report, console: Console) -> None:
    wheels = sorted(report.bundle.facts, key=lambda each: -each.size)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_row(f"{sum(each.size for each in wheels) / 1e6:,.1f} MB", f"all {len(wheels)} wheels; the largest:")
    for each in wheels[:LARGEST]:
        table.add_row(f"{each.size / 1e6:,.1f} MB", str(each))
    console.print(table)
