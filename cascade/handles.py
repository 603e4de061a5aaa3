"""Where a model or dataset that a config names by its Kaggle handle lies on this machine.

In Kaggle's kernel its input folder is searched in every layout seen there; elsewhere `MODELS=dir`, laid
out alike, and then kagglehub's cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cascade.errors import ModelError

# Where Kaggle mounts a kernel's inputs; a rehearsal sets the variable to a folder laid out alike.
INPUT = Path(os.environ.get("CASCADE_INPUT", "/kaggle/input"))
SCHEMES = {
    "kaggle": "kaggle:owner/model/framework/variation/version",
    "dataset": "dataset:owner/slug, or dataset:owner/slug/folder",
}


def find(handle: str) -> Path:
    """The folder of `kaggle:…` or `dataset:…`; ModelError names where it was looked for."""
    scheme, _, name = handle.partition(":")
    words = [word for word in name.split("/") if word]
    if len(words) != 5 if scheme == "kaggle" else len(words) < 2:
        raise ModelError(f"model '{handle}': is no handle; write it as {SCHEMES[scheme]}")
    places = list(_places(scheme, words))
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(map(str, places))
    raise ModelError(
        f"model '{handle}': not found ({looked}); add it to the kernel's inputs or, elsewhere, set MODELS to a folder "
        f"that holds it or fetch it with kagglehub"
    )


def _places(scheme: str, words: list[str]) -> Iterator[Path]:
    owner, name, *rest = words
    roots = [INPUT, *([Path(os.environ["MODELS"])] if os.environ.get("MODELS") else [])]
    for root in roots:
        for kind in ("", "models" if scheme == "kaggle" else "datasets"):
            yield root.joinpath(kind, owner, name, *rest)
            yield root.joinpath(kind, name, *rest)
    cache = Path(os.environ.get("KAGGLEHUB_CACHE", Path.home() / ".cache" / "kagglehub"))
    if scheme == "kaggle":
        yield cache.joinpath("models", *words)
        return
    versions = cache.joinpath("datasets", owner, name, "versions")
    numbered = [path for path in versions.glob("*") if path.name.isdigit()]
    for version in sorted(numbered, key=lambda path: int(path.name), reverse=True):
        yield version.joinpath(*rest)
