"""What each dataset holds: code (our wheel, notebooks, configs, profiles, own models), wheels, adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cascade.base.errors import CascadeError
from cascade.base.manifest import Entry
from cascade.config import handles
from cascade.config.parts import Encoder
from cascade.config.schema import Config, LanguageModel, LLMPipeline
from cascade.models import locate, packaged
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE, adapter_path
from cascade.rerankers import canaries
from packer.datasets import model_files, project_wheel, secrets
from packer.wheels import locks
from packer.wheels.images import Image

Model = Encoder | LanguageModel
PLACEHOLDER = "your-name"
FACTS = {"python", "abi", "machine", "glibc", "gpus", "cuda", "driver", "capability"}


class ContentsError(CascadeError):
    """What a dataset should hold is missing, or lies where the kernel would not find it."""


@dataclass(frozen=True)
class Contents:
    """Source files by their names in the dataset, with `/`. `about`: what its manifest tells beside them.

    `edited`: those that people change in place, so that no hard link may lead to them. `left_out`: sentences
    on what does not travel. `check`: what its files, once hashed, are held to.
    """

    files: dict[str, Path]
    about: dict[str, Any]
    edited: frozenset[str] = field(default=frozenset())
    left_out: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Entry]], None] | None = None


def kinds(config: Config) -> list[str]:
    """The datasets that a run of this config needs."""
    named = any(model.adapter for _, model in config.models())
    return ["code", "wheels", *(["adapters"] if named else [])]


def code(config: Config, root: Path, scratch: Path) -> Contents:
    """The project's own files, and the wheel of its source."""
    found = own_files(config, root)
    secrets.check(
        {**project_wheel.sources(root), **project_wheel.descriptions(root)}
    )  # nobody looks into the wheel later
    wheel = project_wheel.build(root, scratch)
    return replace(found, files={**found.files, wheel.name: wheel}, about={**found.about, "wheel": wheel.name})


def own_files(config: Config, root: Path) -> Contents:
    """Keeps the place of every file in the project, so that a config's relative paths lead to the same files."""
    where = _inside(config.path, root, "the config")
    if where.parts[0] != "configs":
        raise ContentsError(
            "is outside configs/, the only place where the kernel looks for it", path=config.path, mend="move it there"
        )
    _check_placeholders(config)
    edited = {path.relative_to(root).as_posix(): path for path in _texts(root)}
    edited[where.as_posix()] = config.path
    for stage, text in _templates(config):
        path = config.path.parent / text
        if not path.is_file():
            raise ContentsError(f"{text} does not exist", path=config.path, key=f"stage '{stage}'", mend="correct it")
        edited[_inside(path, root, f"stage '{stage}': {text}").as_posix()] = path
    for pipeline in config.pipeline:
        if pipeline.enabled and isinstance(pipeline, LLMPipeline) and canaries.path_of(pipeline, config).is_file():
            path = canaries.path_of(pipeline, config)
            edited[_inside(path, root, f"stage '{pipeline.name}': its canaries").as_posix()] = path
    if config.competition.endswith(".py"):
        path = config.path.parent / config.competition
        if not path.is_file():
            raise ContentsError(
                f"{config.competition} does not exist", path=config.path, key="competition", mend="correct it"
            )
        edited[_inside(path, root, f"competition: {config.competition}").as_posix()] = path
    linked: dict[str, Path] = {}
    left_out = list(_linked_folders(root))
    models = _model_folders(config, root)
    for place, (folder, trusted) in models.items():
        taken = model_files.needed(folder, trusted)
        if links := model_files.linked(folder):
            raise ContentsError(
                "is a link to one of the model's folders", path=links[0], mend="put the folder itself there"
            )
        linked.update({f"{place}/{name}": path for name, path in taken.items()})
        left_out += filter(None, [model_files.left_out(folder, taken)])
    converted = [folder for place, (folder, _) in models.items() if place.startswith(f"{packaged.PACKED}/")]
    for path in (*edited.values(), *linked.values()):
        if path.parent not in converted:
            _inside(path, root, f"{path}, a link")
    about = {"config": where.as_posix(), "competition": _competition(root)}
    return Contents({**edited, **linked}, about, frozenset(edited), tuple(left_out))


def _model_folders(config: Config, root: Path) -> dict[str, tuple[Path, bool]]:
    """The project's own models' folders by their places in it, and whether a stage trusts the code there.

    A package's model that had to be converted lies in a cache, and gets a place in the project.
    """
    found: dict[str, tuple[Path, bool]] = {}
    for stage, model in config.models():
        scheme, _, name = model.model.partition(":")
        if scheme == "package" and name in packaged.PACKAGED and packaged.PACKAGED[name].is_gguf:
            found[f"{packaged.PACKED}/{name}"] = (locate.model_path(model.model, config.path.parent), False)
        elif scheme not in (*handles.SCHEMES, "package"):
            locate.model_path(model.model, config.path.parent)  # stops at a folder that holds no model
            folder = config.path.parent / model.model
            place = _inside(folder, root, f"stage '{stage}': model '{model.model}'").as_posix()
            trusted = getattr(model, "trust_remote_code", False) or (place in found and found[place][1])
            found[place] = (folder, trusted)
    return found


def _competition(root: Path) -> str:
    """Returns the slug by which the kernel knows its data; empty where its metadata names none."""
    path = root / "kernel-metadata.json"
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["competition_sources"]
        return str(names[0]) if names else ""
    except (OSError, ValueError, KeyError, TypeError):  # the push refuses it, and says why
        return ""


def wheels(image: Image) -> Contents:
    """Collects all wheels of the image in one folder, with its lock beside it."""
    entries = sorted(_seen(image.wheels.glob("*")))
    found = [path for path in entries if path.suffix == ".whl"]
    if not found or not image.lock.is_file():
        what, path = ("has no wheels", image.wheels) if image.lock.is_file() else ("no such lock", image.lock)
        raise ContentsError(what, path=path, mend=f"run: make wheels IMAGE={image.name}")
    strange = [path.name for path in entries if path.suffix != ".whl"]
    if strange:
        raise ContentsError(
            "is not a wheel", path=image.wheels / strange[0], mend=f"remove it, or run: make wheels IMAGE={image.name}"
        )
    files = {image.lock.name: image.lock, **{f"wheels/{path.name}": path for path in found}}
    return Contents(files, image_facts(image), frozenset({image.lock.name}), check=partial(_check_lock, image))


def check_names(config: Config, image: Image) -> None:
    """ContentsError where Kaggle would refuse a wheel's name by its version, before anything is staged."""
    for pin in locks.read(image.lock).values():
        if pin.version.local or pin.version.epoch:
            other = "kaggle-t4x2" if next(config.models(), None) else "kaggle-cpu"
            raise ContentsError(
                f"{pin} has a {'local label' if pin.version.local else 'version epoch'}, and Kaggle may reject or "
                f"change the name of its wheel", path=image.lock,
                mend=f"use an image of Kaggle's, such as IMAGE={other}, or pin another version in {image.requirements}",
            )  # fmt: skip


def image_facts(image: Image) -> dict[str, Any]:
    """What the kernel holds the machine that it runs on to."""
    return {"image": image.name, **image.model_dump(mode="json", include=FACTS)}


def _check_lock(image: Image, files: Mapping[str, Entry]) -> None:
    """ContentsError where the staged wheels are not those of the lock, one for one."""
    pins = locks.read(image.lock)
    known = {digest: name for name, pin in pins.items() for digest in pin.hashes}
    found = {name: known.get(entry.sha256) for name, entry in files.items() if name.endswith(".whl")}
    mend = f"fetch again: make wheels IMAGE={image.name}"
    for name, package in found.items():
        if package is None:
            raise ContentsError(f"its SHA-256 is not in {image.lock}", path=image.wheels / Path(name).name, mend=mend)
    missing = sorted(set(pins) - {package for package in found.values() if package})
    if missing:
        raise ContentsError(f"has no wheel of {pins[missing[0]]}, which is in its lock", path=image.wheels, mend=mend)


def adapters(config: Config) -> Contents:
    """A folder each, with what is read of it and its provenance: trainers leave pickled files beside the weights."""
    files = {}
    for _, model in config.models():
        folder = adapter_path(model, config)
        if folder is not None:
            names = [*ADAPTER_FILES, *([PROVENANCE] if (folder / PROVENANCE).is_file() else [])]
            files.update({f"{model.adapter}/{name}": folder / name for name in names})
    if not files:
        raise ContentsError(
            "names no adapter, so there is nothing to stage",
            path=config.path,
            mend="add one to a stage, or leave this dataset out",
        )
    return Contents(files, {"adapters": sorted({str(model.adapter) for _, model in config.models() if model.adapter})})


def _texts(root: Path) -> Iterator[Path]:
    yield from sorted(_seen((root / "notebooks").glob("*.ipynb")))
    yield from sorted(_seen((root / "profiles").glob("*.toml")))  # the run's budget is made by one


def _seen(paths: Iterable[Path]) -> Iterator[Path]:
    """Leaves out dot files, which other programs make: .DS_Store, ._x beside any x."""
    yield from (path for path in paths if not path.name.startswith("."))


def _templates(config: Config) -> Iterator[tuple[str, str]]:
    for stage, model in config.language_models().items():
        yield stage, model.prompt
    for retrieval in config.retrieval:
        if retrieval.query_text is not None:
            yield retrieval.name, retrieval.query_text


def _linked_folders(root: Path) -> Iterator[str]:
    """Sentences on links to folders where files travel: those files do not."""
    for name in ("notebooks", "profiles"):
        for path in sorted(_seen((root / name).glob("*"))):
            if path.is_symlink() and path.is_dir():
                yield f"{path}: left out, as it is a link to a folder"


def _inside(path: Path, root: Path, what: str) -> Path:
    """Where `path` stands in the project, links and all, as the config names it.

    ContentsError where it stands or leads outside, as it would not be in the kernel.
    """
    for place, top in ((path.resolve(), root.resolve()), (_normal(path), _normal(root))):
        if not place.is_relative_to(top):
            raise ContentsError(
                f"{place} is outside the project, so the kernel would not have it",
                key=what,
                mend="move it inside, or upload it and name it dataset:owner/slug",
            )
    return place.relative_to(top)


def _normal(path: Path) -> Path:
    """Removes every `..` from the path, and keeps its links."""
    return Path(os.path.normpath(path.absolute()))


def _check_placeholders(config: Config) -> None:
    for stage, model in config.models():
        if PLACEHOLDER in model.model:
            raise ContentsError(
                f"model '{model.model}' still contains the placeholder {PLACEHOLDER}",
                path=config.path,
                key=f"stage '{stage}'",
                mend="write the dataset's owner there, or set enabled = false",
            )
