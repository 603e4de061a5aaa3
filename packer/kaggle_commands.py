"""The packer's commands that talk to Kaggle: datasets, the kernel, its runs, the submission."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.base.command_line import new_app
from packer.options import KernelConfig, OfAdapters, echo, kinds_of, load_run

if TYPE_CHECKING:
    from packer.kaggle.runs import Run
    from packer.kaggle.state import Pushed

app = new_app()
Version = Annotated[int | None, typer.Argument(help="the kernel's version (default: the last pushed)")]


def _run(version: int | None) -> "tuple[Pushed, Run]":
    from packer.kaggle.runs import Run
    from packer.kaggle.state import last_pushed

    pushed = last_pushed()
    return pushed, Run(pushed.owner, pushed.slug, version or pushed.version)


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
) -> None:
    """Uploads a model as a private dataset of yours, only what loading it requires; goes on where it was cut."""
    from rich.console import Console

    from packer.datasets import models
    from packer.kaggle.datasets import push, staged_manifest, table
    from packer.kaggle.session import Session

    about = models.metadata(models.name_of(folder), slug, licence)
    session = Session()  # before a large model is read
    staged = models.stage(folder, about, trust_remote_code, say=lambda line: echo(line, err=True))
    Console().print(table([push(session, staged, about)]))
    echo(f'model = "{models.handle(session.owner, about, staged_manifest(staged))}"')


@app.command("push-kernel")
def push_kernel(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
) -> None:
    """Checks the kernel and all its sources, and pushes it, which starts a commit run."""
    from packer.kaggle import push
    from packer.kaggle.kernel import KernelError
    from packer.kaggle.session import Session
    from packer.wheels import images

    target = images.load(image)
    settings = load_run(config, target)
    try:
        pushed = push.push_kernel(Session(), settings, target, say=lambda text: echo(text, err=True))
    except KernelError as error:
        for problem in error.problems:
            echo(problem, err=True)
        raise typer.Exit(1) from None
    echo(f"version {pushed.version} of {pushed.owner}/{pushed.slug}: {pushed.url}")


@app.command()
def status(
    version: Version = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait until the run has ended")] = False,
) -> None:
    """Shows the state of the kernel's run; if it failed, also why, and the end of its log."""
    from packer.kaggle import runs, why
    from packer.kaggle.polling import waiting
    from packer.kaggle.session import Session

    _, run = _run(version)
    session = Session()
    if wait:
        with waiting(str(run)) as said:
            seen = runs.wait(session, run, said)
    else:
        seen = runs.status(session, run)
    echo(f"{run}: {seen}")
    if seen.failed:
        for line in [*why.of_log(runs.log(session, run)), *runs.tail(session, run)]:
            echo(line)
        raise typer.Exit(1)


@app.command()
def logs(
    version: Version = None, tail: Annotated[int, typer.Option(min=0, help="show only this many last lines")] = 0
) -> None:
    """Shows the log of the kernel's run: seconds from the start, `!` for stderr, the text."""
    from packer.kaggle import runs
    from packer.kaggle.session import Session

    _, run = _run(version)
    for line in runs.tail(Session(), run, tail):
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
) -> None:
    """Submits a version whose run is complete."""
    from packer.kaggle import submissions
    from packer.kaggle.session import Session

    pushed, run = _run(version)
    session = Session()
    if version is None:
        submissions.check_newest(session, pushed)
    ref = submissions.submit(session, pushed, run, again)
    echo(f"{run} is submission {ref}; time it: make watch")
    echo(submissions.what_is_left(session, pushed.competition))


@app.command()
def watch(
    ref: Annotated[int | None, typer.Option(help="the submission's number (default: the last one)")] = None,
    every: Annotated[float, typer.Option(min=1, help="seconds between two requests (fewer at first)")] = 60.0,
) -> None:
    """Waits until a submission has ended, and says how long it took; can be stopped and started again."""
    from packer.kaggle import submissions
    from packer.kaggle import watch as watching
    from packer.kaggle.polling import waiting
    from packer.kaggle.session import Session

    pushed, _ = _run(None)
    session = Session()
    ref = ref or submissions.last(session, pushed.competition, say=lambda text: echo(text, err=True))
    with waiting(f"submission {ref}") as said:
        seen = watching.watch(session, ref, every, said)
    echo(str(seen))
    echo(submissions.what_is_left(session, pushed.competition))
    raise typer.Exit(0 if seen.status == "COMPLETE" else 1)
