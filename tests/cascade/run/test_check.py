"""Everything that is wrong with a run is said before it, all at once, and costs no loading of weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cascade.__main__ import NOTEBOOKS, app
from cascade.base.errors import CheckError
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.parts import DensePart
from cascade.models import locate, precision
from cascade.models.checks import engines, language_models
from cascade.models.checks.facts import Fact
from cascade.models.checks.target import Target, this_machine
from cascade.processes import gpu
from cascade.run import check, conductor
from packer.__main__ import pack
from packer.datasets import adapters
from packer.wheels import images
from tests import nano
from tests.conftest import set_cell
from tests.packing import IMAGE, make_project

SAMPLE = ROOT / "configs" / "tiny-llm.toml"


@pytest.fixture(autouse=True)
def _no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(engines, "installed", lambda: None)  # in the environment that has vLLM it is passed over
    locate.model_path.cache_clear()


def checked(*arguments: object) -> tuple[int, list[str]]:
    """Exit code and lines of `python -m cascade check`."""
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return done.exit_code, done.output.splitlines()


def of(fact: str, lines: list[str]) -> str:
    """The line on that fact; there is one."""
    (found,) = [line for line in lines if line[2:].startswith(f"{fact} ")]
    return found


def looked_at(config: configs.Config, target: Target | None = None) -> dict[str, Fact]:
    locate.model_path.cache_clear()
    return {fact.name: fact for fact in check.facts(config, target or this_machine(begins=False))}


def test_the_sample_holds_in_every_fact(tmp_path: Path) -> None:
    code, lines = checked(SAMPLE, "--data", ROOT / "sample", "--out", tmp_path / "run")
    assert code == 0 and not [line for line in lines if line[0] != "✓"]
    assert "1007 train queries, 240 test queries, 343 labels" in of("data", lines)
    assert "tiny-pointwise, rank 8: every weight has its place in ../sample/models/tiny-qwen2" in of(
        "point: adapter", lines
    )
    assert not (tmp_path / "run").exists()
    assert checked("--config", SAMPLE)[0] == 0


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, folder: Path) -> None:
    nano.make_model(tmp_path)
    nano.write_adapter(nano.make_adapter(tmp_path), hidden=7)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model.safetensors").write_bytes(b"")
    (tmp_path / "old" / "config.json").write_text("{}")
    set_cell(folder / "test.csv", 2, "QuestionText", "")
    set_cell(folder / "train.csv", 1, "MisconceptionBId", "77")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    (tmp_path / "run.toml").write_text(
        """
        [[retrieval]]
        name = "r1"
        retriever = [{ kind = "dense", model = "qwen-nano" }, { kind = "dense", model = "nowhere", pooling = "mean" }]

        [[pipeline]]
        name = "point"
        kind = "pointwise"
        candidates = "r1"
        model = "qwen-nano"
        adapter = "nano"
        prompt = "p.txt"
        vllm = { max_num_sequences = 4, gpu_memory_utilization = 2 }

        [[pipeline]]
        name = "list"
        kind = "listwise"
        candidates = "r1"
        model = "old"
        adapter = "not-trained-yet"
        prompt = "p.txt"

        [ensemble]
        weights = { point = 1.0 }
        """
    )
    code, lines = checked(tmp_path / "run.toml", "--data", folder, "--out", tmp_path / "out")
    assert code == 1
    wrong = "\n".join(line for line in lines if line.startswith("✗"))
    for told in (
        "MisconceptionBId",
        "has no modules.json, which defines the pooling",
        "model 'nowhere'",
        "layers.0.self_attn.q_proj.lora_A.weight is [16, 7], but qwen-nano's layer has 8 inputs",
        "has no engine argument 'max_num_sequences'",
        "engine argument gpu_memory_utilization is 2, but in vLLM 0.19.1 must be at most 1",
        "old has no tokenizer; fix: add its tokenizer.json",
        "out: contains thesis.txt, and no run made it",
    ):
        assert told in wrong, told
    assert of("engine", lines).startswith("? ") and "make run ENGINE=vllm" in of("engine", lines)
    assert of("list: adapter", lines).startswith("? ") and "is missing; fix: train it" in of("list: adapter", lines)


def test_a_config_that_cannot_be_read_does_not_hide_the_data_and_the_folder(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "run.toml").write_text("retrieval = 1\nengin = 'vllm'\nadapters = 3\nensemble = { weights = {} }\n")
    code, lines = checked(tmp_path / "run.toml", "--data", folder, "--out", folder)
    assert code == 1
    assert [of(fact, lines)[0] for fact in ("data", "output folder")] == ["✓", "✗"]
    wrong = [line for line in lines if line.startswith("✗ config")]
    told = ("unknown key 'engin' (did you mean 'engine'?)", "adapters is 3", "retrieval is 1", "weights is {}")
    assert len(wrong) == 4 and all(any(each in line for line in wrong) for each in told)
    (tmp_path / "run.toml").write_text("retrieval = ")
    assert "not TOML" in of("config", checked(tmp_path / "run.toml")[1])


def test_an_adaptor_that_is_not_there_is_found_without_data(tmp_path: Path) -> None:
    config = SAMPLE.read_text(encoding="utf-8").replace("../", f"{ROOT}/")
    (tmp_path / "run.toml").write_text(f'competition = "none.py"\n{config}', encoding="utf-8")
    code, lines = checked(tmp_path / "run.toml")
    assert code == 1 and "none.py: no such file" in of("competition", lines)


def test_what_is_not_at_hand_is_no_fault_until_the_run_begins(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("{{ question }}")
    handle = "kaggle:nobody/nothing/transformers/tiny/1"
    config = nano.config(
        tmp_path, "vllm", devices=["cuda:0", "cuda:1"], reason={"model": handle, "prompt": "p.txt", "adapter": "later"}
    )
    names = ("engine", "devices", "reason: model", "reason: adapter")
    found = looked_at(config)
    assert [found[name].ok for name in names] == [None] * 4
    found = looked_at(config, this_machine(begins=True))
    assert [found[name].ok for name in names] == [False] * 4
    with pytest.raises(CheckError, match=r"this machine has no vLLM; set engine = .* \(and 3 more, above\)"):
        nano.check_run(config)


def test_a_kaggle_model_of_which_only_what_describes_it_was_fetched_is_not_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nano.make_model(tmp_path)
    (made / "model.safetensors").unlink()
    place = tmp_path / "models" / "nobody" / "nothing" / "transformers" / "tiny"
    place.mkdir(parents=True)
    made.rename(place / "1")
    monkeypatch.setenv("MODELS", str(tmp_path / "models"))
    config = nano.config(tmp_path, reason={"model": "kaggle:nobody/nothing/transformers/tiny/1", "prompt": "p.txt"})
    assert looked_at(config)["reason: model"].ok is None
    assert looked_at(config, this_machine(begins=True))["reason: model"].ok is False


@pytest.mark.parametrize(
    ("cards", "devices", "parallel", "ok", "told"),
    [
        ("0,1", ["cuda:0", "cuda:1"], "tensor", True, "cuda:0, cuda:1"),
        ("0", ["cuda:0", "cuda:1"], "data", True, "devices: cuda:1 not found; continuing with cuda:0"),
        (
            "0",
            ["cuda:0", "cuda:1"],
            "tensor",
            False,
            "stage 'reason': parallel = 'tensor' requires cuda:0, cuda:1",
        ),
        ("", ["cuda:3"], "data", False, "devices: cuda:3 not found on this machine"),
    ],
)
def test_devices_that_are_not_there_are_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cards: str, devices: list[str], parallel: str, ok: bool, told: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", cards)
    nano.make_model(tmp_path)
    reason = {"model": "qwen-nano", "prompt": "p.txt", "parallel": parallel}
    config = nano.config(tmp_path, "vllm", devices=devices, reason=reason)
    found = looked_at(config, replace(this_machine(begins=True), has_vllm=True))["devices"]
    assert found.ok is ok and told in f"{found.found} {found.mend}"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 29696}, ""),
        ({"num_attention_heads": 14, "num_key_value_heads": 1, "intermediate_size": 4864}, ""),
        ({"num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536}, "it has 9 attention heads"),
        ({"num_attention_heads": 12, "num_key_value_heads": 3}, "it has 3 key-value heads"),
        ({"num_attention_heads": 12, "intermediate_size": 4865}, "its intermediate_size is 4865"),
        ({"text_config": {"num_attention_heads": 9}}, "it has 9 attention heads"),
        (
            {"num_attention_heads": 64, "intermediate_size": 29568, "quantization_config": {"group_size": 128}},
            "its intermediate_size is 29568, 231 groups of 128 quantised weights",
        ),
        ({"intermediate_size": 29568, "quantization_config": {"group_size": -1}}, ""),
        ({}, ""),
    ],
)
def test_a_model_that_two_cards_cannot_share_is_found_before_it_loads(
    tmp_path: Path, settings: dict[str, object], why: str
) -> None:
    made = nano.make_model(tmp_path)
    told = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(told | settings))
    reason = {"model": "qwen-nano", "prompt": "p.txt", "parallel": "tensor"}
    config = nano.config(tmp_path, "vllm", devices=["cuda:0", "cuda:1"], reason=reason)
    found = looked_at(config, Target("two cards", 2, (7, 5), has_vllm=True, vllm=None))["reason: parallel"]
    assert found.ok is not bool(why)
    assert found.found.startswith(f"qwen-nano: {why}, so vLLM cannot share it out over 2 cards" if why else "its heads")
    one = looked_at(nano.config(tmp_path, "vllm", devices=["cuda:0", "cuda:1"], reason=reason | {"parallel": "data"}))
    assert "reason: parallel" not in one


@pytest.mark.parametrize(
    ("dtype", "capability", "told"),
    [
        (None, (7, 5), "float16 on cuda:0"),
        (None, (8, 0), "bfloat16 on cuda:0"),
        (None, (), "float16 on cuda:0"),
        ("float16", (9, 0), "float16 on cuda:0"),
        ("bfloat16", (8, 9), "bfloat16 on cuda:0"),
        ("bfloat16", (), "bfloat16 on cuda:0"),
        (
            "bfloat16",
            (7, 5),
            "a GPU of capability 8.0 or higher, and the lowest here is 7.5; set",
        ),
    ],
)
def test_a_precision_that_the_cards_lack_is_told(
    tmp_path: Path, dtype: str | None, capability: tuple[int, ...], told: str
) -> None:
    nano.make_model(tmp_path)
    retrieval = {"name": "r1", "retriever": [{"kind": "dense", "model": "qwen-nano", "dtype": dtype}]}
    reason = {"model": "qwen-nano", "prompt": "p.txt", "dtype": dtype}
    config = nano.config(tmp_path, "vllm", reason=reason, retrieval=[retrieval])
    found = looked_at(config, Target("two cards", 2, capability, has_vllm=True, vllm=None))
    for name in ("reason: dtype", "r1 (dense): dtype"):
        assert found[name].ok is (" on cuda" in told)
        assert told in f"{found[name].found}; {found[name].mend}"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_model_that_vllm_refuses_in_float16_is_told(tmp_path: Path, dtype: str) -> None:
    made = nano.make_model(tmp_path)
    (made / "config.json").write_text('{"model_type": "gemma2"}')
    config = nano.config(tmp_path, "vllm", reason={"model": "qwen-nano", "prompt": "p.txt", "dtype": dtype})
    fact = looked_at(config, Target("a card", 1, (8, 0), has_vllm=True, vllm=engines.known()))["reason: dtype"]
    assert fact.ok is (dtype == "float32")
    assert fact.ok or fact.found == "vLLM 0.19.1 rejects model_type 'gemma2' in float16"


@pytest.mark.parametrize(("has", "is_here"), [(False, True), (True, True), (False, False)])
def test_4_bit_weights_without_their_package_are_told(
    tmp_path: Path, has: bool, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nano.make_model(tmp_path)
    monkeypatch.setattr("cascade.models.checks.dtypes.find_spec", lambda name: object() if has else None)
    retrieval = {"name": "r1", "retriever": [{"kind": "dense", "model": "qwen-nano", "load_in_4bit": True}]}
    config = nano.config(tmp_path, retrieval=[retrieval], devices=["cpu"])
    here = Target("a machine", 0, (), has_vllm=False, vllm=None, is_here=is_here)
    fact = looked_at(config, here)["r1 (dense): dtype"]
    assert fact.ok is (has or not is_here)
    assert fact.ok or fact.found == "4-bit weights require bitsandbytes, which is not installed"
    assert fact.ok or fact.mend.endswith("bitsandbytes, or leave out load_in_4bit")


@pytest.mark.parametrize(
    ("answer", "visible", "expected"),
    [
        ("7.5\n7.5\n", None, (7, 5)),
        ("9.0\n7.5\n", None, (7, 5)),
        ("9.0\n7.5\n", "0", (9, 0)),
        ("12.0\n9.0\n", None, (9, 0)),
        ("9.0\n", "GPU-4f3c", (9, 0)),
        ("N/A\n", None, ()),
        ("", None, ()),
    ],
)
def test_the_least_capability_of_the_visible_cards_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, visible: str | None, expected: tuple[int, ...]
) -> None:
    (tmp_path / "answer").write_text(answer)
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.gpu_capability() == expected


def test_a_precision_is_the_config_s_else_the_device_s(monkeypatch: pytest.MonkeyPatch) -> None:
    llm, encoder = nano.model(), DensePart(kind="dense", model="m")
    assert precision.usual(llm, "cpu", ()) == "float32"
    assert precision.usual(encoder, "cpu", ()) in ("float32", "bfloat16")
    assert precision.usual(llm, "cuda:0", (9, 0), "awq") == "float16"
    assert precision.usual(llm, "cuda:0", (9, 0), "awq_marlin") == "bfloat16"
    assert precision.of(nano.model(dtype="float16"), "cpu") == "float16"
    monkeypatch.setattr(gpu, "gpu_capability", lambda: (8, 6))
    assert precision.of(encoder, "cuda:0") == "bfloat16"


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [
        ({"model_type": "qwen2", "layer_types": ["full_attention", "sliding_attention"]}, ""),
        ({"model_type": "llama4_text", "layer_types": ["chunked_attention"]}, ""),
        ({"model_type": "mamba", "state_size": 16}, "state_size"),
        ({"model_type": "falcon_h1", "mamba_d_ssm": 1024}, "mamba_d_ssm"),
        ({"model_type": "qwen3_next", "linear_conv_kernel_dim": 4}, "linear_conv_kernel_dim"),
        ({"model_type": "lfm2", "layer_types": ["conv", "full_attention"]}, "conv"),
        ({"model_type": "rwkv"}, "rwkv"),
    ],
)
def test_a_model_whose_beginning_cannot_be_shared_is_known_by_its_config(
    tmp_path: Path, settings: dict[str, Any], keeps: str
) -> None:
    made = nano.make_model(tmp_path)
    (made / "config.json").write_text(json.dumps({"text_config": settings}))
    fact = looked_at(nano.config(tmp_path, reason={"model": "qwen-nano", "prompt": "p.txt"}))["reason: cache"]
    assert language_models.state_of(settings) == keeps
    assert fact.ok and bool(fact.mend) == bool(keeps) and keeps in fact.found


def test_a_run_is_refused_before_it_writes_anything(tmp_path: Path, folder: Path) -> None:
    nano.make_model(tmp_path)
    (tmp_path / "run.toml").write_text(
        'engine = "vllm"\nensemble.weights.r1 = 1.0\nretrieval = [{ name = "r1", retriever = [{ kind = "tfidf" }] }]\n'
        'reason = { model = "qwen-nano", prompt = "p.txt" }\n'
    )
    with pytest.raises(CheckError, match="engine = 'vllm', but this machine has no vLLM; set engine = 'transf"):
        conductor.conduct(tmp_path / "run.toml", folder, tmp_path / "out", NOTEBOOKS)
    assert not (tmp_path / "out").exists()


# The kernel's image.


def test_a_run_is_checked_for_the_image_before_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(make_project(tmp_path))
    config = Path("configs/tiny-llm.toml")
    text = config.read_text().replace('engine = "transformers"', 'engine = "vllm"')
    config.write_text(text.replace("enforce_eager", "enforce_eagerly"))
    with pytest.raises(CheckError, match=r"vLLM 0\.19\.1 has no .* 'enforce_eager'\?\); .* \(and 3 more, above\)"):
        pack(config, IMAGE)
    assert "✗ point: arguments" in capsys.readouterr().err
    Path(f"wheels/{IMAGE}.in").write_text("numpy\n")
    with pytest.raises(CheckError, match=f"engine = 'vllm', but {IMAGE} has no vLLM"):
        pack(config, IMAGE)
    assert not Path("build/datasets").exists()


def test_the_t4_s_config_holds_for_its_image_but_for_what_is_not_at_hand() -> None:
    found = looked_at(configs.load(ROOT / "configs" / "t4x2.toml"), adapters.target(images.load("kaggle-t4x2")))
    assert found["engine"].ok and found["devices"].ok and found["p1: arguments"].ok
    assert not [fact for fact in found.values() if fact.ok is False]


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and may(path, mode))  # root may always
    for out in ("run", "file/run"):
        code, lines = checked(SAMPLE, "--out", tmp_path / out)
        assert code == 1
        assert "cannot be written to; fix: pass --out with a folder that can" in of("output folder", lines)
