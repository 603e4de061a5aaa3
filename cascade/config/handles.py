"""Where a model or dataset that a config names by its Kaggle handle lies on this machine.

In Kaggle's kernel its input folder is searched in every layout seen there; elsewhere `MODELS=dir`, laid
out alike, and then kagglehub's cache.

Kaggle takes capitals as it takes small letters: its pages write `Transformers` and `PyTorch`, kagglehub `pyTorch`, and
the folder that a kernel sees is `pytorch`. So a handle has one normal form, and whoever compares two compares that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cascade.base import runtime
from cascade.base.errors import ModelError, NotHereError

SCHEMES = {
    "kaggle": "kaggle:owner/model/framework/variation/version",
    "dataset": "dataset:owner/slug, or dataset:owner/slug/folder",
}


PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
FORMS = {
    "kaggle": re.compile(rf"({PART}/){{4}}\d+"),
    "dataset": re.compile(rf"{PART}/{PART}(/(?!\.{{1,2}}(?:/|$))[^/]+)*"),
}
ADDRESS = re.compile(r"(https?://[^/]+)?/(datasets|models|code|competitions|c)/")
VERSIONS = re.compile(r"/versions/(\d+)(?=/|$)")


def normal(handle: str) -> str:
    """The one form of `kaggle:…` or `dataset:…`; ModelError for what is none, and for a dataset's version.

    Owners, slugs, frameworks and variations are in small letters; what follows a dataset's slug is a folder of its
    files, whose letters count.
    """
    scheme, _, name = handle.partition(":")
    words = name.rstrip("/")
    if not FORMS[scheme].fullmatch(words):
        raise ModelError("is not a handle", key=f"model '{handle}'", mend=f"write it as {SCHEMES[scheme]}")
    owner, slug, *rest = words.split("/")
    if scheme == "kaggle":
        framework, variation, version = rest
        rest = [framework.replace("-", "").lower(), variation.lower(), str(int(version))]
    elif found := VERSIONS.match("/" + "/".join(rest)):
        raise ModelError(
            "names a version, but a kernel always reads a dataset's newest",
            key=f"model '{handle}'",
            mend=f"remove '{found[0]}'",
        )
    return f"{scheme}:{'/'.join([owner.lower(), slug.lower(), *rest])}"


def source(name: str) -> str:
    """What Kaggle calls a source, in a form to compare: no address, and no `/versions/3` but for a model's number."""
    words = ADDRESS.sub("", name, count=1).strip("/").lower().split("/")
    if "versions" in words[2:-1]:
        at = words.index("versions", 2)
        words[at:] = words[at + 1 :] if at == 4 else []
    if len(words) == 5:
        words[2] = words[2].replace("-", "")
    return "/".join(words)


def find(handle: str) -> Path:
    """The folder of `kaggle:…` or `dataset:…`; NotHereError names where it was looked for."""
    scheme, _, name = normal(handle).partition(":")
    words = name.split("/")
    # Inside a dataset a folder is found by its own letters, all before it by any.
    exact = 0 if scheme == "kaggle" else len(words) - 2
    places = list(_places(scheme, words))
    for root, place in places:
        if found := _existing(root, place.parts, exact):
            return found
    looked = ", ".join(str(root / place) for root, place in places)
    raise NotHereError(
        f"not found ({looked})",
        key=f"model '{handle}'",
        mend="add it to the kernel's inputs; outside Kaggle, set MODELS to a folder that contains it or fetch it "
        "with kagglehub",
    )


def _places(scheme: str, words: list[str]) -> Iterator[tuple[Path, Path]]:
    """Roots, and where below each."""
    owner, name, *rest = words
    for root in (runtime.INPUT, *([Path(os.environ["MODELS"])] if os.environ.get("MODELS") else [])):
        for kind in ("", "models" if scheme == "kaggle" else "datasets"):
            yield root, Path(kind, owner, name, *rest)
            yield root, Path(kind, name, *rest)
    cache = Path(os.environ.get("KAGGLEHUB_CACHE", Path.home() / ".cache" / "kagglehub"))
    if scheme == "kaggle":
        yield cache, Path("models", *words)
        return
    versions = _existing(cache, ("datasets", owner, name, "versions"))
    numbered = [path for path in versions.glob("*") if path.name.isdigit()] if versions else []
    for version in sorted(numbered, key=lambda path: int(path.name), reverse=True):
        yield version, Path(*rest)


def _existing(folder: Path, parts: tuple[str, ...], exact: int = 0) -> Path | None:
    """The folder that lies there by these names, capitals or not but for the last `exact` names."""
    if not parts:
        return folder if folder.is_dir() else None
    names = [parts[0]]
    if len(parts) > exact and folder.is_dir():
        names += sorted(path.name for path in folder.iterdir() if path.name.lower() == parts[0] != path.name)
    found = (_existing(folder / name, parts[1:], exact) for name in names)
    return next((each for each in found if each), None)
