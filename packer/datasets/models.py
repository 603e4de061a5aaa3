"""A base model as a dataset of its own: what loading it requires, in a folder that a config can name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from cascade.base import manifest
from cascade.base.errors import ModelError
from cascade.base.manifest import ManifestError
from cascade.models import locate
from cascade.models.adapters import ADAPTER_FILES
from cascade.models.checks import code
from packer.datasets import model_files, rules, staging
from packer.datasets.contents import Contents
from packer.datasets.rules import DatasetError, DatasetMetadata

KIND = "model"
INDEX, WEIGHTS = ".safetensors.index.json", ".safetensors"
PART = re.compile(r"-\d+-of-\d+\.safetensors$")
TOKENIZERS = (*locate.TOKENIZER_FILES, "vocab.txt")
RENAME = "pass another name as SLUG=name (--slug), of a-z, 0-9 and single hyphens"
NAMED = 50  # letters of a name in a subtitle, which Kaggle limits


def name_of(folder: Path) -> str:
    """What a model is called: its folder, or the repository whose snapshot in the Hugging Face hub's cache that is."""
    folder = folder.resolve()
    cached = folder.parent.parent.name
    if folder.parent.name == "snapshots" and cached.startswith("models--"):
        return cached.rpartition("--")[2]
    return folder.name


def stage(
    folder: Path,
    about: DatasetMetadata,
    trusted: bool = False,
    out: Path = staging.OUT,
    say: Callable[[str], None] = print,
) -> Path:
    """Stages the dataset and returns its folder; kept as it is where it already is that of these very files.

    `trusted`: the model's own code travels too. ModelError for a model that would not load, or not without running
    what a stranger wrote.
    """
    target = out / about.slug
    found = find(folder, trusted)
    _check_own(target)
    if _is_staged(target, found):
        for sentence in found.left_out:
            say(sentence)
    else:
        staging.put(target, KIND, lambda _: found, say)
    return target


def find(folder: Path, trusted: bool = False) -> Contents:
    """The model's files, below a folder of its name; ModelError where it is not whole or not safe."""
    name = name_of(folder)
    if not folder.is_dir():
        raise ModelError("no such folder", path=folder, mend="pass the folder that contains the model's config.json")
    if (folder / ADAPTER_FILES[0]).is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            "is an adapter, not a model", path=folder, mend="name it as a stage's adapter, and run: make pack"
        )
    locate.model_path(str(folder.resolve()), Path())
    settings = locate.read_json(folder / "config.json", name)
    if not isinstance(settings, dict):
        raise ModelError("is no table of settings", path=folder / "config.json", mend="fetch the model again")
    if links := model_files.linked(folder):
        raise ModelError("is a link to one of the model's folders", path=links[0], mend="put the folder itself there")
    if not trusted and code.needs_own(settings):
        raise ModelError(
            "requires code of its own, which would run in your kernel",
            path=folder,
            mend="read it, then pass TRUST=1 (--trust-remote-code), and set trust_remote_code = true in the config",
        )
    files = model_files.needed(folder, trusted)
    _check_weights(folder, files)
    left_out = filter(None, [model_files.left_out(folder, files)])
    travelling = {f"{name}/{place}": path for place, path in files.items()}
    # People edit a template or a config in place, and replace weights.
    edited = frozenset(each for each in travelling if not each.endswith(WEIGHTS))
    return Contents(travelling, {"model": name, "identity": _identity(files)}, edited, tuple(left_out))


def _identity(files: dict[str, Path]) -> str:
    """What a model has in common with itself trained on: its config, and its weights' names and sizes."""
    sizes = sorted(f"{place}:{path.stat().st_size}" for place, path in files.items() if place.endswith(WEIGHTS))
    told = "\n".join([manifest.sha256(files["config.json"]), *sizes])
    return hashlib.sha256(told.encode()).hexdigest()


def _check_own(target: Path) -> None:
    """DatasetError where the folder is one of the project's own datasets."""
    try:
        kind = manifest.read(target).kind if target.is_dir() else KIND
    except ManifestError:  # staging says what lies there
        return
    if kind != KIND:
        raise DatasetError(f"is this project's dataset of {kind}", path=target, mend=RENAME)


def _check_weights(folder: Path, files: dict[str, Path]) -> None:
    """ModelError where weights are missing, cut short, or pickled."""
    if pickled := next((place for place in files if Path(place).suffix == ".bin"), None):
        raise ModelError(
            f"has pickled weights only ({pickled}), which run code when read",
            path=folder,
            mend="use a copy in safetensors, or write one with transformers' save_pretrained",
        )
    weights = [path for place, path in files.items() if place.endswith(WEIGHTS)]
    if not weights:
        raise ModelError("has no weights in safetensors", path=folder, mend="fetch the model again")
    indexed: set[Path] = set()
    for place, path in files.items():
        if place.endswith(INDEX):
            told = locate.read_json(path, folder.name)
            named = told.get("weight_map") if isinstance(told, dict) else None
            if not isinstance(named, dict) or not all(isinstance(each, str) for each in named.values()):
                raise ModelError("is no index of weights", path=path, mend="fetch the model again")
            parts = {path.parent / each for each in named.values()}
            indexed |= parts
            if missing := sorted(part.name for part in parts if not part.is_file()):
                raise ModelError(
                    f"has no {missing[0]}, one of {len(missing)} that {place} names and that are missing",
                    path=folder,
                    mend="fetch the model again",
                )
    if lone := sorted(path.name for path in weights if PART.search(path.name) and path not in indexed):
        raise ModelError(f"has {lone[0]}, a part that no {INDEX[1:]} names", path=folder, mend="fetch the model again")
    if not any(Path(place).name in TOKENIZERS or Path(place).suffix in (".model", ".tiktoken") for place in files):
        raise ModelError("has no tokenizer", path=folder, mend=f"add its {locate.TOKENIZER_FILES[0]}")
    for path in weights:
        _check_whole(path)


def _check_whole(path: Path) -> None:
    """ModelError where a file of weights is shorter or longer than its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot be read ({error})", path=path, mend="fetch the model again") from error


def metadata(name: str, slug: str | None, licence: str) -> DatasetMetadata:
    """How a model's dataset is called; DatasetError for what Kaggle does not take."""
    found = slug or re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    where = f"model {name}"
    if not rules.NAME.fullmatch(name):
        mend = "rename the folder with letters, digits, '.', '_' and '-'"
        raise DatasetError(f"'{name}' is no name that Kaggle keeps as it is", path=where, mend=mend)
    if not re.fullmatch(rules.SLUG, found):
        raise DatasetError(f"'{found}' is no name of a dataset", path=where, key="id", mend=RENAME)
    title = name if slug is None else slug
    about = DatasetMetadata(found, title, f"{name[:NAMED]}: weights, tokenizer, config", licence)
    return rules.checked(about, where, RENAME)


def handle(owner: str, about: DatasetMetadata, told: manifest.Manifest) -> str:
    """What a config calls the model."""
    return f"dataset:{owner}/{about.slug}/{told.about['model']}"


def _is_staged(target: Path, found: Contents) -> bool:
    """Whether the folder holds these files alone: weights as hard links, not written since, others as they are."""
    try:
        told = manifest.read(target)
        since = (target / manifest.FILE).stat().st_mtime_ns
        if (told.kind, told.about, set(told.files)) != (KIND, found.about, set(found.files)):
            return False
        return all(
            manifest.sha256(path) == told.files[name].sha256
            if name in found.edited
            else (target / name).samefile(path) and path.stat().st_mtime_ns <= since
            for name, path in found.files.items()
        )
    except (ManifestError, OSError):
        return False
