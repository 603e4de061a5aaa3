"""Which competitions there are: the project's own, and those that a person brings as a package or a file."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.base.errors import ConfigError, DataError, nearest
from cascade.competitions.base import Competition
from cascade.competitions.eedi import EEDI
from cascade.competitions.map2025 import MAP2025

if TYPE_CHECKING:  # the kernel begins without what a config is checked by
    from cascade.config.schema import Config

GROUP = "cascade.competitions"  # of entry points, each to an instance of `Competition`
OWN: dict[str, Competition] = {each.name: each for each in (EEDI, MAP2025)}


def find(name: str, beside: Path) -> Competition:
    """The competition of a config's `competition`: a name, or a path to a .py file that is relative to `beside`.

    ConfigError where there is none.
    """
    if name.endswith(".py"):
        return _load((beside / name).resolve())
    if name in OWN:
        return OWN[name]
    brought = {point.name: point for point in entry_points(group=GROUP)}
    if name not in brought:
        known = [*OWN, *brought]
        raise ConfigError(
            f"competition = '{name}' is unknown{nearest(name, known)}; use one of {', '.join(known)}, or a path "
            f"to a .py file with an adaptor (docs/competitions.md)"
        )
    try:
        found = brought[name].load()
    except Exception as error:
        raise ConfigError(
            f"competition '{name}': its package cannot be loaded: {type(error).__name__}: {error}; reinstall it"
        ) from error
    return _checked(found, f"entry point '{name}'")


def of(config: Config) -> Competition:
    """The config's; ConfigError where a retrieval does not suit it: too few labels, an unknown field."""
    found = find(config.competition, config.path.parent)
    for retrieval in config.retrieval:
        if retrieval.top_k < found.depth:
            raise ConfigError(
                f"{config.path}: retrieval '{retrieval.name}': top_k = {retrieval.top_k} is less than the "
                f"{found.depth} labels of a submission's row; raise it"
            )
        for part in retrieval.retriever:
            if part.kind == "classifier" and part.by is not None and part.by not in found.fields:
                raise ConfigError(
                    f"{config.path}: retrieval '{retrieval.name}': by = '{part.by}' is no field of {found.name}"
                    f"{nearest(part.by, found.fields)}; use one of {', '.join(found.fields)}"
                )
    return found


def sample_of(config: Path) -> Path:
    """The data folder of a command that is given none: the sample of the config's competition."""
    from cascade.config.schema import load  # the kernel begins without what a config is checked by

    found = of(load(config))
    if not found.sample:
        raise DataError(
            f"{config}: competition '{found.name}' has no sample of its own; pass --data, or make's DATA, with the "
            f"folder of its files"
        )
    return Path(found.sample)


def of_data(folder: Path) -> Competition:
    """The project's own competition whose files the folder has; DataError where there is none."""
    for each in OWN.values():
        if each.is_data(folder):
            return each
    known = ", ".join(OWN)
    raise DataError(
        f"{folder}: has the files of no known competition ({known}); pass the folder with train.csv and test.csv; for "
        f"a competition of your own, pass its .py file to a command that takes one (make folds COMPETITION=FILE)"
    )


@cache
def _load(path: Path) -> Competition:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; correct the config's `competition`")
    spec = importlib.util.spec_from_file_location(f"cascade_competition_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path}: cannot be loaded: {type(error).__name__}: {error}; correct the file") from error
    return _checked(getattr(module, "COMPETITION", None), str(path))


def _checked(found: object, where: str) -> Competition:
    if not isinstance(found, Competition):
        raise ConfigError(f"{where}: has no COMPETITION, an instance of cascade.competitions.base.Competition; add it")
    return found
