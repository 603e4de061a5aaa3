"""What describes a model is fetched by the real kagglehub, from Kaggle's API on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.config import handles
from cascade.config import schema as configs
from cascade.config.schema import Config
from packer.kaggle.fetch_models import fetch
from packer.kaggle.session import KaggleError
from tests.kaggle_server import Call, KaggleServer, RefusalError

MODEL, DATASET = "models.ModelApiService/DownloadModelInstanceVersion", "datasets.DatasetApiService/DownloadDataset"
FILES = {"config.json": b'{"model_type": "qwen2"}', "tokenizer.json": b"{}"}
HANDLE = "kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KaggleServer]:
    def model(call: Call) -> bytes:
        if call.body["path"] not in FILES:
            raise RefusalError(404, "no such file")
        return FILES[call.body["path"]]

    def dataset(call: Call) -> bytes:
        return model(Call(call.method, {"path": call.body["fileName"].rpartition("/")[2]}, {}))

    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.delenv("MODELS", raising=False)
    with KaggleServer() as server, server.login(monkeypatch):
        server.handlers.update({MODEL: model, DATASET: dataset})
        server.handlers["datasets.DatasetApiService/GetDataset"] = lambda call: {"currentVersionNumber": 3}
        yield server


@pytest.fixture
def config() -> Config:
    """Of a dataset's retriever and one LLM."""
    whole = configs.load(ROOT / "configs" / "t4x2.toml")
    part = whole.retrieval[0].retriever[0].model_copy(update={"model": "dataset:grace/sfr/SFR-Embedding-2_R"})
    retrieval = whole.retrieval[0].model_copy(update={"retriever": [part]})
    parts = {"reason": None, "retrieval": [retrieval], "pipeline": whole.pipeline[:1]}
    return whole.model_copy(update=parts)


def test_config_and_tokenizers_alone_are_fetched_and_found(server: KaggleServer, config: Config) -> None:
    fetched = fetch([config])
    assert fetched == ["dataset:grace/sfr/SFR-Embedding-2_R", HANDLE]
    for model in fetched:
        assert {path.name for path in handles.find(model).iterdir()} == set(FILES)
        assert (handles.find(model) / "config.json").read_bytes() == FILES["config.json"]
    before = len(server.requests)
    assert fetch([config]) == []
    assert len(server.requests) == before


def test_half_a_config_is_fetched_again(server: KaggleServer, config: Config, tmp_path: Path) -> None:
    path = tmp_path / "models/qwen-lm/qwen2.5/transformers/32b-instruct-awq/1/config.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES["config.json"][:5])
    assert HANDLE in fetch([config])
    assert path.read_bytes() == FILES["config.json"]


def test_a_model_without_its_tokenizer_is_fetched_again(server: KaggleServer, config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "models/qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(FILES["config.json"])
    assert HANDLE in fetch([config])
    assert (folder / "tokenizer.json").is_file()


@pytest.mark.parametrize("status", [401, 404])
def test_a_model_that_cannot_be_had_is_named(server: KaggleServer, config: Config, status: int) -> None:
    server.faults[MODEL] = [RefusalError(status, "refused")] * 9
    with pytest.raises(KaggleError, match=rf"{HANDLE}': config.json cannot be fetched \({status} .*correct the handle"):
        fetch([config])
