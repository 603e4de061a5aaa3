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
            f"'{name}' is unknown{nearest(name, known)}",
            key="competition",
            mend=f"use one of {', '.join(known)}, or the path of a .py file with an adaptor (docs/competitions.md)",
        )
    try:
        found = brought[name].load()
    except Exception as error:
        raise ConfigError(
            f"'{name}': its package cannot be loaded: {type(error).__name__}: {error}",
            key="competition",
            mend="reinstall it",
        ) from error
    return _checked(found, f"entry point '{name}'")


def of(config: Config) -> Competition:
    """The config's; ConfigError where a retrieval does not suit it: too few labels, an unknown field."""
    found = find(config.competition, config.path.parent)
    for pipeline in config.pipeline:
        _check_field(getattr(pipeline, "by", None), found, config, f"pipeline '{pipeline.name}'")
    for retrieval in config.retrieval:
        if retrieval.top_k < found.depth:
            raise ConfigError(
                f"top_k = {retrieval.top_k} is less than the {found.depth} labels of a submission's row",
                path=config.path,
                key=f"retrieval '{retrieval.name}'",
                mend="raise it",
            )
        for part in retrieval.retriever:
            _check_field(getattr(part, "by", None), found, config, f"retrieval '{retrieval.name}'")
    return found


def _check_field(by: str | None, found: Competition, config: Config, key: str) -> None:
    """ConfigError where what parts the queries is not a field of them."""
    if by is not None and by not in found.fields:
        raise ConfigError(
            f"by = '{by}' is not a field of {found.name}{nearest(by, found.fields)}",
            path=config.path,
            key=key,
            mend=f"use one of {', '.join(found.fields)}",
        )


def sample_of(config: Path) -> Path:
    """The data folder of a command that is given none: the sample of the config's competition."""
    from cascade.config.schema import load  # the kernel begins without what a config is checked by

    found = of(load(config))
    if not found.sample:
        raise DataError(
            f"'{found.name}' has no sample",
            path=config,
            key="competition",
            mend="pass --data, or make's DATA, with the folder of its files",
        )
    return Path(found.sample)


def of_data(folder: Path) -> Competition:
    """The project's own competition whose files the folder has; DataError where there is none."""
    for each in OWN.values():
        if each.is_data(folder):
            return each
    known = ", ".join(OWN)
    raise DataError(
        f"has the files of no known competition ({known})",
        path=folder,
        mend="pass the folder with train.csv and test.csv; for a competition of your own, pass its .py file to a "
        "command that takes one (make folds COMPETITION=FILE)",
    )


@cache
def _load(path: Path) -> Competition:
    if not path.is_file():
        raise ConfigError("no such file", path=path, mend="correct the config's `competition`")
    spec = importlib.util.spec_from_file_location(f"cascade_competition_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"cannot be loaded: {type(error).__name__}: {error}", path=path, mend="correct the file"
        ) from error
    return _checked(getattr(module, "COMPETITION", None), str(path))


def _checked(found: object, where: str) -> Competition:
    if not isinstance(found, Competition):
        raise ConfigError(
            "has no COMPETITION, an instance of cascade.competitions.base.Competition", path=where, mend="add it"
        )
    return found
