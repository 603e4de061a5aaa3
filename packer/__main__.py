"""`python -m packer`: the commands that run where there is an internet."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import ShowVersion, new_app, run_command_line
from packer import kaggle_commands
from packer.options import DEFAULTS, KernelConfig, OfAdapters, echo, kinds_of, load_run

app = new_app()


@app.callback()
def main(version: ShowVersion = False) -> None:
    """Prepares, checks and uploads what the Kaggle kernel needs."""


@app.command()
def notebooks(folder: Annotated[Path, typer.Argument(help="folder of the notebooks")] = Path("notebooks")) -> None:
    """Checks that every notebook is valid, has no outputs and has its parameters cell."""
    from packer.datasets.notebooks import problems

    found = problems(folder)
    for problem in found:
        echo(problem, err=True)
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
    echo(f"{out}: vLLM {extract['version']}, {len(extract['engine_arguments'])} engine arguments")


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
    echo(f"{target.lock}: {packages} packages, {'locked anew' if made else 'still what is asked for'}")
    done = fetch(target, jobs)
    for name in done.built:
        echo(f"  built {name}")
    for path in done.moved:
        echo(f"  not in the lock, or torn: moved to {path}")
    new = len(done.fetched) + len(done.built)
    echo(f"{target.wheels}: {packages} wheels, {decimal(done.size)}; {new} new, {len(done.kept)} were there")


@app.command()
def verify(
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    config: Annotated[
        list[Path] | None,
        typer.Option(help=f"the run's TOML file, or several (default: {DEFAULTS})"),
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
    runs = [load_run(path, target) for path in config] if config else [load_run(None, target)]
    if fetch_models:
        for model in fetch(runs):
            echo(f"fetched the config and tokenizer of {model}")
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
        echo(line)


@app.command()
def adapters(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
) -> None:
    """Checks the LoRA adapters that a config names; exits with 2 if one in use cannot be packed."""
    from packer.datasets.adapters import check, lines, require
    from packer.wheels import images

    target = images.load(image)
    checked = check(load_run(config, target), target)
    for line in lines(checked):
        echo(line)
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
        echo(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


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
        echo(f"{path}: {decimal(path.stat().st_size)}")


@app.command()
def pack(
    config: KernelConfig = None,
    image: Annotated[str, typer.Option(help="target image: a name in wheels/")] = "kaggle-t4x2",
    of_adapters: OfAdapters = None,
) -> None:
    """Checks the run and its adapters, and writes every dataset that it needs to build/datasets/."""
    from rich.filesize import decimal

    from cascade.run import check as checking
    from packer.datasets import adapters, contents, staging
    from packer.wheels import images

    target = images.load(image)
    run = load_run(config, target, of_adapters)
    if of_adapters is None:
        contents.check_names(run, target)
        checking.require(checking.facts(run, adapters.target(target)), say=lambda line: echo(line, err=True))
    adapters.require(adapters.check(run, target))
    kinds = kinds_of(run, of_adapters)
    for folder, told in staging.pack(run, target, say=lambda line: echo(line, err=True), kinds=kinds):
        echo(f"{folder}: {len(told.files)} files, {decimal(told.size)}")


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

    from packer.rehearsal import rehearse as rehearsing
    from packer.wheels import images

    console, limit = Console(), rehearsing.size(limit_working)
    target = images.load(image)
    done = rehearsing.rehearse(load_run(config, target), target, questions, console, limit)
    rehearsing.show(done, console)
    raise typer.Exit(0 if done.green else 1)


app.add_typer(kaggle_commands.app)  # without a name: they are commands of this program


def command_line() -> None:
    """The program, as the installed script starts it."""
    run_command_line(app)


if __name__ == "__main__":
    command_line()
