"""Datasets as they will be uploaded: each a folder under build/datasets/, with its manifest.

The same input makes the same bytes. Large files are hard links: staging reads them once, to hash them, and copies none.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cascade.base import manifest
from cascade.base.errors import CascadeError
from cascade.base.manifest import Entry, Manifest
from cascade.config.schema import Config
from packer.datasets import contents, project_wheel, rules, secrets
from packer.datasets.contents import Contents
from packer.datasets.rules import DatasetMetadata
from packer.datasets.rules import metadata as metadata
from packer.wheels.images import Image

OUT = Path("build/datasets")
LEFT_BY_OTHERS = (".DS_Store", "Thumbs.db", "desktop.ini")  # who look into a folder, and of no worth
SMALL = 1 << 24  # bytes of a file that is hashed before it gives way
READERS = 2  # files hashed side by side: one core hashes slower than an SSD reads
Say = Callable[[str], None]

__all__ = ["OUT", "DatasetMetadata", "StagingError", "metadata", "pack", "stage", "staged_folder", "stale"]


class StagingError(CascadeError):
    """A dataset that cannot be staged; names the file and the mend."""


def staged_folder(kind: str, image: Image, out: Path = OUT) -> Path:
    """Where a dataset lies, or will lie, as it is uploaded."""
    return out / metadata(kind, image).slug


def pack(
    config: Config,
    image: Image,
    out: Path = OUT,
    say: Say = print,
    uploaded: bool = True,
    kinds: Sequence[str] | None = None,
) -> list[tuple[Path, Manifest]]:
    """Stages every dataset that a run of `config` on `image` needs, or those `kinds`.

    uploaded: by Kaggle's rules on names too.
    """
    origin = git(say)
    return [_stage(kind, config, image, out, say, origin, uploaded) for kind in kinds or contents.kinds(config)]


def stage(kind: str, config: Config, image: Image, out: Path = OUT, say: Say = print) -> Path:
    """The dataset's folder, made whole beside the old one and put into its place; the project is the current folder.

    `say` is told what the user should know and what is no error.
    """
    return _stage(kind, config, image, out, say, git(say), True)[0]


def stale(kind: str, told: Manifest, config: Config, image: Image, out: Path = OUT) -> str | None:
    """What a staged dataset, whose manifest is `told`, lacks of what the project holds now; None where it has all.

    A hard link that is still one is the same file; what is else is read. The project is the current folder.
    """
    folder = staged_folder(kind, image, out)
    mend = f"run: make pack CONFIG={config.path} IMAGE={image.name}"
    if kind == "code" and Path(told.about["config"]).resolve() != config.path.resolve():
        return f"{folder}: is staged for {told.about['config']}; {mend}"
    now = _now(kind, config, image)
    for key, value in now.about.items():
        if told.about.get(key) != value:
            return f"{folder}: {key} was {told.about.get(key)} when it was staged, and is {value}; {mend}"
    changed = next((str(path) for name, path in now.files.items() if not _is_staged(folder, name, path, told)), None)
    if kind != "wheels" and changed is None:
        own = {*now.files, told.about.get("wheel")}
        extra = next((name for name in told.files if name not in own), None)
        if extra is not None:
            return f"{folder}: contains {extra}, which would not be uploaded; {mend}"
    if kind == "code":
        changed = changed or project_wheel.changed(folder / told.about["wheel"], Path())
    return f"{folder}: {changed} has changed since it was staged; {mend}" if changed else None


def _now(kind: str, config: Config, image: Image) -> Contents:
    """Returns the content as far as it can be compared without building; staging checked the wheels by their lock."""
    if kind == "wheels":
        return Contents({image.lock.name: image.lock}, contents.image_facts(image))
    return contents.own_files(config, Path()) if kind == "code" else contents.adapters(config)


def _is_staged(folder: Path, name: str, path: Path, told: Manifest) -> bool:
    if name not in told.files:
        return False
    try:
        return (folder / name).samefile(path) or manifest.sha256(path) == told.files[name].sha256
    except OSError:
        return False


def _stage(
    kind: str, config: Config, image: Image, out: Path, say: Say, origin: tuple[str, bool], uploaded: bool
) -> tuple[Path, Manifest]:
    target = staged_folder(kind, image, out)
    told = put(target, kind, lambda scratch: _contents(kind, config, image, scratch), say, origin, uploaded)
    return target, told


def put(
    target: Path,
    kind: str,
    gather: Callable[[Path], Contents],
    say: Say,
    origin: tuple[str, bool] = ("", False),
    uploaded: bool = True,
) -> Manifest:
    """Makes a dataset's folder of what `gather` finds, which may write to the folder that it is given.

    `origin`: the commit, and whether there are changes beside it.
    """
    _check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".staging-") as scratch:
            made = Path(scratch) / "made"
            found = gather(Path(scratch))
            _check(target.name, found, uploaded)
            for sentence in found.left_out:
                say(sentence)
            _fill(made, found, say)
            told = Manifest(kind, *origin, _hashed(made, found, target.name), found.about)
            if found.check is not None:
                found.check(told.files)
            (made / manifest.FILE).write_text(told.as_json(), encoding="utf-8")
            if target.exists():
                target.rename(Path(scratch) / "old")
            made.rename(target)
    except OSError as error:
        raise StagingError(
            f"cannot be staged ({error})",
            path=target,
            mend="free some space or correct the permissions, and try again",
        ) from error
    return told


def _check_replaceable(target: Path) -> None:
    """StagingError where what lies in the place of a dataset is not what was staged there, and nothing else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    mend = "it would be replaced, so move it away and try again"
    try:
        told = manifest.read(target) if target.is_dir() else None
    except manifest.ManifestError:
        told = None
    if told is None:
        raise StagingError("exists, and was not staged by this project", path=target, mend=mend)
    for path in sorted(path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()):
        name = path.relative_to(target).as_posix()
        if (
            path.name not in LEFT_BY_OTHERS
            and name != manifest.FILE
            and (name not in told.files or not _is_as_staged(path, told.files[name]))
        ):
            how = "was changed since it was staged" if name in told.files else "was not staged"
            raise StagingError(how, path=path, mend=mend)


def _is_as_staged(path: Path, entry: Entry) -> bool:
    """Compares sizes, and small files' hashes: a large file is a hard link, whose content has a place of its own."""
    if path.is_symlink() or path.stat().st_size != entry.size:
        return False
    return entry.size > SMALL or manifest.sha256(path) == entry.sha256


def _contents(kind: str, config: Config, image: Image, scratch: Path) -> Contents:
    if kind == "code":
        return contents.code(config, Path(), scratch / "build")
    return contents.wheels(image) if kind == "wheels" else contents.adapters(config)


def _check(slug: str, found: Contents, uploaded: bool) -> None:
    if manifest.FILE in found.files:
        raise StagingError(
            "the dataset itself needs this name", path=found.files[manifest.FILE], mend="rename the file"
        )
    sizes = {name: path.stat().st_size for name, path in found.files.items()}
    rules.check_files(slug, {**sizes, manifest.FILE: 0}, uploaded)
    secrets.check(found.files)


def _fill(folder: Path, found: Contents, say: Say) -> None:
    folder.mkdir()
    copied = 0
    for name, path in found.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = path.resolve()  # what a link leads to, not the link
        if name not in found.edited:
            try:
                target.hardlink_to(source)
                continue
            except OSError:  # another file system, or one without hard links
                copied += source.stat().st_size
        shutil.copyfile(source, target)
    if copied:
        say(f"{copied / 1e9:.1f} GB copied, as hard links cannot lead there; keep build/ on the same file system")


def _hashed(folder: Path, found: Contents, slug: str) -> dict[str, Entry]:
    sizes = {name: (folder / name).stat().st_size for name in sorted(found.files)}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar, ThreadPoolExecutor(READERS) as pool:
        task = bar.add_task(slug, total=sum(sizes.values()))

        def entry(name: str) -> Entry:
            hashed = Entry(sizes[name], manifest.sha256(folder / name))
            bar.advance(task, sizes[name])
            return hashed

        return dict(zip(sizes, pool.map(entry, sizes), strict=True))


def git(say: Say) -> tuple[str, bool]:
    """The commit, and whether there are changes beside it; an empty commit where there is none."""
    try:
        commit = _output("git", "rev-parse", "HEAD")
        changes = _output("git", "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        say(f"warning: no git commit to record ({reason.strip().splitlines()[0]}); the manifest will have none")
        return "", False
    if changes:
        files = len(changes.splitlines())
        say(f"warning: {files} files have changed since commit {commit[:9]}; the manifest records that")
    return commit, bool(changes)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
