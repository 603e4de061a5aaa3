"""`python -m packer`: the commands that run where there is an internet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.base.command_line import ShowVersion, new_app, run_command_line
from cascade.base.printable import printable

if TYPE_CHECKING:
    from cascade.config.schema import Config
    from packer.kaggle.runs import Run
    from packer.kaggle.state import Pushed
    from packer.wheels.images import Image

app = new_app()


KernelConfig = Annotated[
    Path | None, typer.Option("--config", help="the run's TOML file (default: t4x2.toml; without GPUs sample.toml)")
]


def _echo(text: str, err: bool = False) -> None:
    """A line for a person: Kaggle's logs, names and messages stand in many."""
    typer.echo(printable(text), err=err)


OfAdapters = Annotated[
    Path | None,
    typer.Option("--adapters", help="only the adapters' dataset, with the config's adapters in this folder"),
]


def _load(config: Path | None, image: "Image", adapters: Path | None = None) -> "Config":
    """The run that is for that image, the same for every command that leads to the kernel; with other adapters."""
    from cascade.config.schema import load

    run = load(config or Path("configs") / ("t4x2.toml" if image.gpus else "sample.toml"))
    return run if adapters is None else run.model_copy(update={"adapters": str(adapters.resolve())})


def _kinds(run: "Config", adapters: Path | None) -> list[str]:
    from packer.datasets import contents

    return contents.kinds(run) if adapters is None else ["adapters"]


@app.callback()
def main(version: ShowVersion = False) -> None:
    """Prepares, checks and uploads what the Kaggle kernel needs."""


@app.command()
def notebooks(folder: Annotated[Path, typer.Argument(help="folder of the notebooks")] = Path("notebooks")) -> None:
    """Checks that every notebook is valid, has no outputs and has its parameters cell."""
    from packer.datasets.notebooks import problems

    found = problems(folder)
    for problem in found:
        _echo(problem, err=True)
    raise typer.Exit(1 if found else 0)


@app.command()
def vllm_api(
    wheel: Annotated[Path, typer.Argument(help="the kernel's vLLM wheel")],
    out: Annotated[Path | None, typer.Option(help="file to write (default: wheels/vllm-VERSION.json)")] = None,
) -> None:
    """Lists the names in a vLLM wheel, against which the tests check the code."""
    from packer.vllm.api import as_json, read_wheel

    extract = read_wheel(wheel)
    out = out or Path("wheels") / f"vllm-{extract['version']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_json(extract), encoding="utf-8")
    _echo(f"{out}: vLLM {extract['version']}, {len(extract['engine_arguments'])} engine arguments")


@app.command()
def wheels(
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    upgrade: Annotated[bool, typer.Option("--upgrade", help="lock the newest versions that the image allows")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="how many wheels to download at the same time")] = 8,
) -> None:
    """Locks all packages that a target image needs, and downloads their wheels."""
    from rich.filesize import decimal

    from packer.wheels import images, locks
    from packer.wheels.fetch import fetch
    from packer.wheels.resolve import lock

    target = images.load(image)
    made = lock(target, upgrade)
    packages = len(locks.read(target.lock))
    _echo(f"{target.lock}: {packages} packages, {'locked anew' if made else 'still what is asked for'}")
    done = fetch(target, jobs)
    for name in done.built:
        _echo(f"  built {name}")
    for path in done.moved:
        _echo(f"  not in the lock, or torn: moved to {path}")
    new = len(done.fetched) + len(done.built)
    _echo(f"{target.wheels}: {packages} wheels, {decimal(done.size)}; {new} new, {len(done.kept)} were there")


@app.command()
def verify(
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    config: Annotated[
        list[Path] | None,
        typer.Option(help="the run's TOML file, or several (default: t4x2.toml; without GPUs sample.toml)"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="read everything again, without the cache")] = False,
    fetch_models: Annotated[
        bool, typer.Option("--fetch-models", help="first download the models' config.json and tokenizers from Kaggle")
    ] = False,
) -> None:
    """Proves without a network that an image's wheels will install and start; exits with 1 if a proof fails."""
    from rich.console import Console

    from packer.kaggle.fetch_models import fetch
    from packer.proofs.verify import show
    from packer.proofs.verify import verify as prove
    from packer.wheels import images

    target = images.load(image)
    runs = [_load(path, target) for path in config] if config else [_load(None, target)]
    if fetch_models:
        for model in fetch(runs):
            _echo(f"fetched the config and tokenizer of {model}")
    report = prove(target, runs, full)
    show(report, Console())
    raise typer.Exit(1 if report.failed else 0)


@app.command("image")
def update_image(
    found: Annotated[Path, typer.Option("--from", help="the image.json that a commit run left: make output")],
    image: Annotated[
        str | None, typer.Option(help="target image to update: a name in wheels/ (default: the run's)")
    ] = None,
) -> None:
    """Updates a target image's facts by what a commit run saw; says which wheels that breaks."""
    from packer.kaggle.kernel import competition
    from packer.wheels import images
    from packer.wheels import seen as seeing

    seen = seeing.read(found, competition())
    target = images.load(image) if image else seeing.image_of(seen, found)
    lines = seeing.report(target, seen)
    seeing.update(target, seen)
    for line in lines:
        _echo(line)


@app.command()
def adapters(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
) -> None:
    """Checks the LoRA adapters that a config names; exits with 2 if one in use cannot be packed."""
    from packer.datasets.adapters import check, lines, require
    from packer.wheels import images

    target = images.load(image)
    checked = check(_load(config, target), target)
    for line in lines(checked):
        _echo(line)
    require(checked)


@app.command()
def canaries(
    config: Annotated[Path, typer.Argument(help="the run's TOML file")],
    data: Annotated[Path | None, typer.Option(help="the competition's data; default: the sample")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="only this pipeline, or several")] = None,
    device: Annotated[str, typer.Option(help="the device: cpu, cuda:0")] = "cpu",
    dtype: Annotated[str, typer.Option(help="precision: float32, or bfloat16 where that does not fit")] = "float32",
    original: Annotated[
        str | None, typer.Option(help="the model itself, if the config's is a quantised copy of it")
    ] = None,
) -> None:
    """Writes the scores by which every engine that loads a model is checked, beside the config in canaries/."""
    from cascade.competitions import registry
    from cascade.config.schema import load
    from packer.canaries import make

    run = load(config)
    for path in make(run, data or registry.sample_of(config), stage or [], device, dtype, original):
        _echo(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


@app.command()
def shard(
    model: Annotated[Path, typer.Argument(help="the model's folder")],
    out: Annotated[Path, typer.Argument(help="the folder to write: a new one, or one that this command has made")],
    tensor_parallel_size: Annotated[int, typer.Option(min=1, help="the cards that are to share the model")] = 2,
    dtype: Annotated[str, typer.Option(help="precision of the weights; a T4 has no bfloat16")] = "float16",
    quantization: Annotated[str | None, typer.Option(help="vLLM's argument of that name, as in the config")] = None,
) -> None:
    """Writes a checkpoint of one part for each card, for load_format = "sharded_state"; needs vLLM and the cards."""
    from rich.filesize import decimal

    from packer.shard import shard as make

    for path in make(model, out, tensor_parallel_size, dtype, quantization):
        _echo(f"{path}: {decimal(path.stat().st_size)}")


@app.command()
def pack(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    of_adapters: OfAdapters = None,
) -> None:
    """Checks the run and its adapters, and writes every dataset that it needs to build/datasets/."""
    from rich.filesize import decimal

    from cascade.run import check as checking
    from packer.datasets import adapters, staging
    from packer.wheels import images

    target = images.load(image)
    run = _load(config, target, of_adapters)
    if of_adapters is None:
        checking.require(checking.facts(run, adapters.target(target)), say=lambda line: _echo(line, err=True))
    adapters.require(adapters.check(run, target))
    kinds = _kinds(run, of_adapters)
    for folder, told in staging.pack(run, target, say=lambda line: _echo(line, err=True), kinds=kinds):
        _echo(f"{folder}: {len(told.files)} files, {decimal(told.size)}")


@app.command()
def rehearse(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = Path("configs/tiny-llm.toml"),
    image: Annotated[str, typer.Option(help="an image without GPUs that matches this machine")] = "cpu-linux",
    questions: Annotated[int, typer.Option(help="test questions of the scoring rerun, each with three queries")] = 685,
    limit_working: Annotated[str, typer.Option(help="largest size of /kaggle/working, such as 300MB")] = "20GB",
) -> None:
    """Runs what would be pushed as Kaggle would, without a network: a commit run, then the scoring rerun.

    It exits with 1 if anything fails, or does what Kaggle does not allow.
    """
    from rich.console import Console

    from cascade.config.schema import load
    from packer.rehearsal import rehearse as rehearsing
    from packer.wheels import images

    console, limit = Console(), rehearsing.size(limit_working)
    done = rehearsing.rehearse(load(config), images.load(image), questions, console, limit)
    rehearsing.show(done, console)
    raise typer.Exit(0 if done.green else 1)


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
    run = _load(config, target, of_adapters)
    folders = staged(run, target, _kinds(run, of_adapters))
    session = Session()
    Console().print(table([push(session, folder, about) for folder, about in folders]))


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
    settings = _load(config, target)
    try:
        pushed = push.push_kernel(Session(), settings, target, say=lambda text: _echo(text, err=True))
    except KernelError as error:
        for problem in error.problems:
            _echo(problem, err=True)
        raise typer.Exit(1) from None
    _echo(f"version {pushed.version} of {pushed.owner}/{pushed.slug}: {pushed.url}")


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
    _echo(f"{run}: {seen}")
    if seen.failed:
        for line in [*why.of_log(runs.log(session, run)), *runs.tail(session, run)]:
            _echo(line)
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
        _echo(line)


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

    pushed, run = _run(version)
    folder = out or Path("build/output", f"{run.owner}-{run.slug}", str(run.version))
    session = Session()
    with downloading() as said:
        came = fetch(session, run, folder, said)
    there = sum(path.is_file() and path.name != OF for path in folder.rglob("*"))
    _echo(f"{folder}: {len(came)} files fetched, {there} are there")
    for line in seeing.compared(folder / seeing.FILE, pushed.competition):
        _echo(line)
    if runs.status(session, run).failed:
        for line in why.of_output(folder, runs.log(session, run)):
            _echo(line)


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
    _echo(f"{run} is submission {ref}; time it: make watch")
    _echo(submissions.what_is_left(session, pushed.competition))


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
    ref = ref or submissions.last(session, pushed.competition, say=lambda text: _echo(text, err=True))
    with waiting(f"submission {ref}") as said:
        seen = watching.watch(session, ref, every, said)
    _echo(str(seen))
    _echo(submissions.what_is_left(session, pushed.competition))
    raise typer.Exit(0 if seen.status == "COMPLETE" else 1)


def command_line() -> None:
    """The program, as the installed script starts it."""
    run_command_line(app)


if __name__ == "__main__":
    command_line()
