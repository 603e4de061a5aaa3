"""The kernel's notebook and its inputs, as Kaggle mounts them: our datasets, the competition's data, the models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cascade.base.errors import CascadeError
from cascade.competitions import registry
from cascade.competitions.base import Competition
from cascade.config import handles
from cascade.config.schema import Config
from packer.datasets import adapters, staging
from packer.kaggle import kernel
from packer.rehearsal.violations import INPUT
from packer.wheels.images import Image

VISIBLE = 3  # questions of the test that a commit run sees
TRAIN = 400  # questions: as many as the committed sample's train part has
SEED = 3  # of a sample that no adapter was trained on
NOTEBOOK = "/kaggle/src/script.ipynb"


@dataclass(frozen=True)
class Inputs:
    """This machine's folders by their place in the room, the competition's left out: it is `rerun` or `commit`.

    `size`: bytes of the datasets.
    """

    competition: Competition
    shown: dict[str, Path]
    rerun: Path
    commit: Path
    size: int

    def of(self, data: Path) -> dict[str, Path]:
        """Returns the inputs with the competition's data in its place."""
        return {**self.shown, f"{INPUT}/{self.competition.slug}": data}


def make(config: Config, image: Image, questions: int, folder: Path, say: Callable[[str], None]) -> Inputs:
    """Makes in `folder` all that a rehearsal is given.

    It checks and stages the datasets by `pack`'s own code, fills in the notebook, and generates a test set. The
    config's models are shown from where they lie.
    """
    adapters.require(adapters.check(config, image))
    staged = staging.pack(config, image, folder / "datasets", say, uploaded=False)
    shown = {f"{INPUT}/{path.name}": path.resolve() for path, _ in staged}
    for place, model in _models(config):
        shown[f"{INPUT}/{place}"] = model.resolve()
    metadata = kernel.read()
    where = staged[0][1].about["config"]
    kernel.write(metadata, Path(metadata["code_file"]), registry.of(config), where, folder / "kernel")
    shown[NOTEBOOK] = (folder / "kernel" / kernel.NOTEBOOK).resolve()
    competition = registry.of(config)
    rerun, commit = make_data(competition, folder, questions)
    return Inputs(competition, shown, rerun.resolve(), commit.resolve(), sum(told.size for _, told in staged))


def _models(config: Config) -> list[tuple[str, Path]]:
    """Kaggle's models and other people's datasets: place among the inputs, folder here."""
    found = []
    for _, model in config.models():
        scheme, _, name = model.model.partition(":")
        if scheme == "kaggle":
            found.append((f"models/{name}", handles.find(model.model)))
        elif scheme == "dataset":
            owner_and_slug = "/".join(name.split("/")[:2])
            found.append((f"datasets/{owner_and_slug}", handles.find(f"dataset:{owner_and_slug}")))
    return found


def make_data(competition: Competition, folder: Path, questions: int) -> tuple[Path, Path]:
    """The competition's folder in the rerun, and in the commit run, whose test has a few of the same questions."""
    from sample.generate.competitions import GENERATORS

    if (generate := GENERATORS.get(competition.name)) is None:
        raise CascadeError(
            f"'{competition.name}': no data can be generated for it, so it cannot be rehearsed",
            key="competition",
            mend="rehearse a config of another competition",
        )
    rerun, commit = folder / "data" / "rerun", folder / "data" / "commit"
    generate(rerun, SEED, TRAIN + questions, questions)
    (rerun / "test_labels.csv").unlink()  # Kaggle keeps them
    shutil.copytree(rerun, commit, dirs_exist_ok=True)
    visible = pd.read_csv(rerun / "test.csv", dtype=str, keep_default_na=False).head(VISIBLE)
    visible.to_csv(commit / "test.csv", index=False)
    return rerun, commit
