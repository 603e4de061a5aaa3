"""An LLM and the engine's arguments fit together, or are refused before hours are spent."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from cascade.base.errors import ModelError
from cascade.models import locate, placement
from tests.nano import HIDDEN, LAYERS, check, config, model
from tests.refusals import refused


def test_a_model_that_is_whole_is_accepted_with_and_without_its_adapter(
    tmp_path: Path, nano_model: Path, adapter: Path
) -> None:
    assert check(tmp_path) == nano_model
    assert check(tmp_path, model(adapter=adapter.name)) == nano_model


@pytest.mark.parametrize("file", locate.TOKENIZER_FILES)
def test_any_kind_of_tokenizer_will_do(tmp_path: Path, nano_model: Path, file: str) -> None:
    (nano_model / "tokenizer.json").rename(nano_model / file)
    assert check(tmp_path) == nano_model


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, nano_model: Path) -> None:
    (nano_model / "tokenizer.json").unlink()
    (nano_model / "tokenizer_config.json").write_text("{}")
    with refused(ModelError, "has no tokenizer", key="model 'qwen-nano'", mend="add its tokenizer.json"):
        check(tmp_path)


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
def test_pickled_weights_are_not_read(tmp_path: Path, nano_model: Path, pickled: str) -> None:
    (nano_model / "model.safetensors").rename(nano_model / pickled)
    with pytest.raises(ModelError, match=rf"has pickled weights only \({pickled}\), which run code when read; convert"):
        check(tmp_path)


def test_a_model_without_weights_is_refused(tmp_path: Path, nano_model: Path) -> None:
    (nano_model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights; convert them to safetensors"):
        check(tmp_path)


def test_a_model_with_code_of_its_own_is_refused_unless_that_is_allowed(tmp_path: Path, nano_model: Path) -> None:
    settings = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    (nano_model / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="contains its own code; read it, then set trust_remote_code = true"):
        check(tmp_path)
    assert check(tmp_path, model(trust_remote_code=True)) == nano_model


def test_a_broken_model_config_is_refused(tmp_path: Path, nano_model: Path) -> None:
    (nano_model / "config.json").write_text('{"hidden_size": ')
    with pytest.raises(ModelError, match=r"config\.json cannot be read: .*; fetch the model again"):
        check(tmp_path)


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


@pytest.mark.usefixtures("vllm", "nano_model")
def test_an_engine_argument_that_it_does_not_know_is_refused_with_the_nearest(tmp_path: Path) -> None:
    known = {"gpu_memory_utilization": 0.8}
    check(tmp_path, model(vllm={"max_num_seqs": 4}), engine="vllm", vllm=known)
    told = (
        r"stage 'point': the installed vLLM has no engine argument 'gpu_memory_utilisation' "
        r"\(did you mean 'gpu_memory_utilization'\?\); remove or correct it"
    )
    with pytest.raises(ModelError, match=told):
        check(tmp_path, engine="vllm", vllm={"gpu_memory_utilisation": 0.8})
    with pytest.raises(ModelError, match=told):
        check(tmp_path, model(vllm={"gpu_memory_utilisation": 0.8}), engine="vllm", vllm=known)
    for name in ("nothing", "LATER", "local"):
        with pytest.raises(ModelError, match=f"has no engine argument '{name}'"):
            check(tmp_path, engine="vllm", vllm={name: 1})


@pytest.mark.usefixtures("vllm", "nano_model")
def test_the_other_engine_s_arguments_are_not_looked_at(tmp_path: Path) -> None:
    check(tmp_path, engine="transformers", vllm={"no_such_argument": 1})


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("gpu_memory_utilisation", 0.8, r"vLLM 0\.19\.1 has no engine argument .*mean 'gpu_memory_utilization'"),
        ("gpu_memory_utilization", 1.8, r"is 1\.8, but in vLLM 0\.19\.1 must be at most 1"),
    ],
)
def test_without_an_engine_installed_its_arguments_are_held_against_the_kernel_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float, told: str
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not (Path(entry) / "vllm").is_dir()])
    with pytest.raises(ModelError, match=told):
        check(tmp_path, engine="vllm", vllm={name: value})


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
        ("0\n", ["cuda:0", "cuda:1"], ["cuda:0"], "devices: cuda:1 not found; continuing with cuda:0\n"),
        ("0\n", ["cuda:1", "cuda:0"], ["cuda:0"], "devices: cuda:1 not found; continuing with cuda:0\n"),
        ("", ["cuda:0", "cpu"], ["cpu"], "devices: cuda:0 not found; continuing with cpu\n"),
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
    assert placement.device_list(config(tmp_path, devices=devices)) == expected
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
    assert placement.device_list(config(tmp_path, devices=["cuda:0", "cuda:1"] if named else None)) == expected


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_where_no_card_is_there_that_the_config_names_it_is_refused(
    tmp_path: Path, cards: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    cards.write_text("" if visible is None else "0\n1\n")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert placement.device_list(config(tmp_path)) == ["cpu"]
    with refused(ModelError, "cuda:0, cuda:1 not found", key="devices", mend="remove devices"):
        placement.device_list(config(tmp_path, devices=["cuda:0", "cuda:1"]))
