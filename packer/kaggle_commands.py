"""The packer's commands that talk to Kaggle: datasets, the kernel, its runs, the submission."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.base.command_line import new_app
from cascade.base.errors import StageError
from packer.options import KernelConfig, OfAdapters, echo, kinds_of, load_run

if TYPE_CHECKING:
    from packer.kaggle.runs import Run, Status
    from packer.kaggle.session import Session
    from packer.kaggle.state import Pushed

app = new_app()
TWELVE_HOURS = 12 * 60.0  # minutes: as long as Kaggle lets a session run, so that nothing goes on after them
LOOKS_EVERY = 60.0  # seconds: a submission lasts hours
GiveUp = Annotated[
    float, typer.Option(min=0, help="minutes without an answer of Kaggle's after which waiting ends with exit code 2")
]
Version = Annotated[int | None, typer.Argument(help="the kernel's version (default: the last pushed)")]


def _run(version: int | None) -> "tuple[Pushed, Run]":
    from packer.kaggle.runs import Run
    from packer.kaggle.state import last_pushed

    pushed = last_pushed()
    return pushed, Run(pushed.owner, pushed.slug, version or pushed.version)


def _require_run(pushed: "Pushed", run: "Run") -> None:
    """RunError where that version was saved without a run."""
    from packer.kaggle.runs import not_run

    if not pushed.ran and run.version == pushed.version:
        raise not_run(run)


def _check_give_up(give_up: float, wait: bool) -> None:
    if give_up != TWELVE_HOURS and not wait:
        raise StageError(
            "is for waiting", key="--give-up (GIVEUP)", mend="pass --wait (WAIT=1) with it, or leave it out"
        )


def _wait(session: "Session", run: "Run", give_up: float) -> None:
    """Waits for the run's end, and tells it; `give_up` in minutes."""
    from packer.kaggle import runs
    from packer.kaggle.polling import waiting

    with waiting(str(run)) as said:
        seen = runs.wait(session, run, said, away=60 * give_up)
    _tell(session, run, seen)


def _tell(session: "Session", run: "Run", seen: "Status") -> None:
    """The run's state; of one that failed also the end of its log and, last, the cause, with exit code 1."""
    from packer.kaggle import why

    echo(f"{run}: {seen}")
    if seen.failed:
        for line in why.of_run(session, run, seen):
            echo(line)
        raise typer.Exit(1)


def _watch(session: "Session", competition: str, ref: int, every: float, give_up: float) -> None:
    """Waits for the submission's end, and tells it; of one that failed the cause is last, with exit code 1."""
    from packer.kaggle import submissions
    from packer.kaggle import watch as watching
    from packer.kaggle.polling import waiting

    with waiting(f"submission {ref}") as said:
        seen = watching.watch(session, ref, every, said, away=60 * give_up)
    echo(str(seen))
    echo(seen.ran())
    echo(submissions.what_is_left(session, competition))
    if seen.status != "COMPLETE":
        echo(f"why: {seen.reason or 'Kaggle gives no reason'}")
        raise typer.Exit(1)


@app.command()
def push_datasets(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    of_adapters: OfAdapters = None,
) -> None:
    """Uploads what `pack` wrote, as private datasets of yours; skips what Kaggle already has."""
    from rich.console import Console

    from packer.kaggle.datasets import push, staged, table
    from packer.kaggle.session import Session
    from packer.wheels import images

    target = images.load(image)
    run = load_run(config, target, of_adapters)
    folders = staged(run, target, kinds_of(run, of_adapters))
    session = Session()
    Console().print(table([push(session, folder, about) for folder, about in folders]))


@app.command()
def push_model(
    folder: Annotated[Path, typer.Argument(help="the model's folder, which contains config.json")],
    slug: Annotated[str | None, typer.Option(help="the dataset's name (default: the model's)")] = None,
    licence: Annotated[str, typer.Option(help="the model's licence, in Kaggle's words")] = "other",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="upload the code that the model brings, too")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="also in the place of another model")] = False,
) -> None:
    """Uploads a model as a private dataset of yours, only what loading it requires; goes on where it was cut."""
    from rich.console import Console

    from packer.datasets import models
    from packer.kaggle.datasets import push, staged_manifest, table
    from packer.kaggle.session import Session

    about = models.metadata(models.name_of(folder), slug, licence)
    session = Session()  # before a large model is read
    staged = models.stage(folder, about, trust_remote_code, say=lambda line: echo(line, err=True))
    Console().print(table([push(session, staged, about, replaces=replace)]))
    echo(f'model = "{models.handle(session.owner, about, staged_manifest(staged))}"')


@app.command("push-kernel")
def push_kernel(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    no_run: Annotated[bool, typer.Option("--no-run", help="save a version without running it")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait until its run has ended, as status does")] = False,
    give_up: GiveUp = TWELVE_HOURS,
) -> None:
    """Checks the kernel and all its sources, and pushes it, which starts a commit run unless --no-run."""
    from packer.kaggle import push
    from packer.kaggle.kernel import KernelError
    from packer.kaggle.runs import Run
    from packer.kaggle.session import Session
    from packer.wheels import images

    _check_give_up(give_up, wait)
    if no_run and wait:
        raise KernelError("a version that is saved without a run has none to wait for", mend="leave out one of the two")
    target = images.load(image)
    settings = load_run(config, target)
    session = Session()
    try:
        pushed = push.push_kernel(session, settings, target, say=lambda text: echo(text, err=True), run=not no_run)
    except KernelError as error:
        for problem in error.problems:
            echo(problem, err=True)
        raise typer.Exit(2 if isinstance(error, push.MadeError) else 1) from None
    run = Run(pushed.owner, pushed.slug, pushed.version)
    echo(f"{run}{' is saved without a run' if no_run else ''}: {pushed.url}")
    if wait:
        _wait(session, run, give_up)


@app.command()
def status(
    version: Version = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait until the run has ended")] = False,
    give_up: GiveUp = TWELVE_HOURS,
) -> None:
    """Shows the state of the kernel's run; if it failed, also the end of its log, and last why.

    Exits with 0 while it runs and once it is complete, with 1 if it failed, with 2 if Kaggle could not be asked.
    """
    from packer.kaggle import runs
    from packer.kaggle.session import Session

    pushed, run = _run(version)
    if not pushed.ran and run.version == pushed.version and not wait:
        echo(f"{run}: saved without a run")
        return
    _require_run(pushed, run)
    session = Session()
    if wait:
        _wait(session, run, give_up)
    else:
        _tell(session, run, runs.status(session, run))


@app.command()
def logs(
    version: Version = None,
    tail: Annotated[int, typer.Option(min=0, help="show only this many last lines")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="show it while the run goes on, until its end")] = False,
    give_up: GiveUp = TWELVE_HOURS,
) -> None:
    """Shows the log of the kernel's run: seconds from the start, `!` for stderr, the text."""
    from packer.kaggle import follow as following
    from packer.kaggle import runs
    from packer.kaggle.session import Session

    pushed, run = _run(version)
    _require_run(pushed, run)
    if follow and tail:
        raise runs.RunError("a log that is followed is shown from its start", mend="leave out TAIL or FOLLOW")
    session = Session()
    if follow:
        told = following.lines(session, run, lambda text: echo(text, err=True), away=60 * give_up)
    else:
        told = iter(runs.tail(session, run, tail))
    for line in told:
        echo(line)


@app.command()
def output(
    version: Version = None,
    out: Annotated[Path | None, typer.Option(help="folder (default: build/output/OWNER-SLUG/VERSION)")] = None,
) -> None:
    """Downloads the output of the run: ledger, notebooks, tables, log; skips files already here; says why it failed."""
    from packer.kaggle import runs, why
    from packer.kaggle.output import OF, downloading, fetch
    from packer.kaggle.session import Session
    from packer.wheels import seen as seeing
    from packer.wheels.images import ImageError

    pushed, run = _run(version)
    _require_run(pushed, run)
    folder = out or Path("build/output", f"{run.owner}-{run.slug}", str(run.version))
    session = Session()
    with downloading() as said:
        came = fetch(session, run, folder, said)
    there = sum(path.is_file() and path.name != OF for path in folder.rglob("*"))
    echo(f"{folder}: {len(came)} files fetched, {there} are there")
    if runs.status(session, run).failed:
        for line in why.of_output(folder, runs.log(session, run)):
            echo(line)
    try:
        for line in seeing.compared(folder / seeing.FILE, pushed.competition):
            echo(line)
    except ImageError as error:  # what came is here, and of more use than the comparison
        echo(f"its machine is not compared: {error}")


@app.command()
def submit(
    version: Version = None,
    again: Annotated[bool, typer.Option("--again", help="submit the version even if it was submitted before")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait until the submission has ended, as watch does")] = False,
    give_up: GiveUp = TWELVE_HOURS,
) -> None:
    """Submits a version whose run is complete."""
    from packer.kaggle import submissions
    from packer.kaggle.session import Session

    _check_give_up(give_up, wait)
    pushed, run = _run(version)
    _require_run(pushed, run)
    session = Session()
    if version is None:
        submissions.check_newest(session, pushed)
    ref = submissions.submit(session, pushed, run, again)
    if wait:
        echo(f"{run} is submission {ref}")
        _watch(session, pushed.competition, ref, LOOKS_EVERY, give_up)
    else:
        echo(f"{run} is submission {ref}; time it: make watch")
        echo(submissions.what_is_left(session, pushed.competition))


@app.command()
def watch(
    ref: Annotated[int | None, typer.Option(help="the submission's number (default: the last one)")] = None,
    every: Annotated[float, typer.Option(min=1, help="seconds between two requests (fewer at first)")] = LOOKS_EVERY,
    give_up: GiveUp = TWELVE_HOURS,
) -> None:
    """Waits until a submission has ended, and says how long it took; can be stopped and started again."""
    from packer.kaggle import submissions
    from packer.kaggle.session import Session

    pushed, _ = _run(None)
    session = Session()
    ref = ref or submissions.last(session, pushed.competition, say=lambda text: echo(text, err=True))
    _watch(session, pushed.competition, ref, every, give_up)


@app.command()
def quota() -> None:
    """Shows how much GPU and TPU time was used this week, how much is left, and when the week ends."""
    from datetime import UTC, datetime

    from packer.kaggle import quota as asking
    from packer.kaggle.session import Session

    for line in asking.lines(Session(), datetime.now(UTC)):
        echo(line)
