"""LoRA weights are checked before they travel, and found where they arrive."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from cascade.base import runtime
from cascade.base.errors import ModelError
from cascade.base.manifest import FILE, Manifest
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.models import adapters, locate
from cascade.models.adapters import ADAPTER_FILES
from packer.datasets.adapters import AdapterError, Checked, check, lines, require
from packer.wheels import images
from tests.nano import check_run

Weights = dict[str, torch.Tensor]
LAYER = "base_model.model.model.layers.0"
DOWN = f"{LAYER}.mlp.down_proj.lora_A.weight"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The sample's models and adapters, in a place of the test's own."""
    for name in ("models", "adapters"):
        shutil.copytree(ROOT / "sample" / name, tmp_path / "sample" / name)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return tmp_path


@pytest.fixture
def adapter(project: Path) -> Path:
    return project / "sample" / "adapters" / "tiny-listwise"


def run_config(project: Path, engine: Literal["vllm", "transformers"] = "vllm", **vllm: Any) -> Config:
    locate.model_path.cache_clear()
    return configs.load(project / "configs" / "tiny-llm.toml", engine).model_copy(update={"vllm": vllm})


def checked(
    project: Path, name: str = "tiny-listwise", engine: Literal["vllm", "transformers"] = "vllm", **vllm: Any
) -> Checked:
    """What is found of one adapter; the config's other parts are left out, as each takes its time."""
    config = run_config(project, engine, **vllm)
    only = {
        "retrieval": [
            each.model_copy(update={"retriever": [part for part in each.retriever if wants(part, name)]})
            for each in config.retrieval
        ],
        "pipeline": [each for each in config.pipeline if wants(each, name)],
    }
    (found,) = check(config.model_copy(update=only), images.load("kaggle-t4x2", ROOT / "wheels"))
    return found


def wants(part: object, name: str) -> bool:
    return getattr(part, "adapter", None) == name


def set_keys(adapter: Path, **keys: Any) -> None:
    path = adapter / ADAPTER_FILES[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def change_weights(adapter: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(adapter / ADAPTER_FILES[1])
    change(weights)
    save_file(weights, adapter / ADAPTER_FILES[1])


def test_the_committed_adapters_pass_and_are_told_of(project: Path) -> None:
    found = check(run_config(project), images.load("kaggle-t4x2", ROOT / "wheels"))
    assert [each.name for each in found] == [
        "cross-encoder-minilm",
        "retriever-minilm",
        "tiny-listwise",
        "tiny-pointwise",
    ]
    assert [(each.problems, each.not_proved, each.enabled) for each in found] == [([], [], True)] * 4
    require(found)
    tiny = found[2]
    weights = project / "sample" / "adapters" / "tiny-listwise" / ADAPTER_FILES[1]
    assert tiny.stages == ["list", "final"]
    assert (tiny.rank, tiny.dtype, tiny.size) == (8, "float16", weights.stat().st_size)
    assert tiny.targets == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert tiny.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


# Its weights.


def put(key: str, value: torch.Tensor) -> Callable[[Weights], object]:
    return lambda weights: weights.update({key: value})


def widen(weights: Weights) -> None:
    for key in list(weights):
        if "down_proj.lora_A" in key:
            weights[key] = torch.zeros(8, 513, dtype=torch.float16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put(DOWN, torch.full((8, 512), torch.nan, dtype=torch.float16)),
            f"{DOWN} contains NaN or infinity; train it again",
        ),
        (put(DOWN, torch.full((8, 512), torch.inf)), f"{DOWN} contains NaN or infinity"),
        (
            put(DOWN, torch.full((8, 512), 1e6, dtype=torch.bfloat16)),
            f"{DOWN} is beyond float16's 65504, infinite on a T4",
        ),
        (
            put(DOWN, torch.zeros(8, 512, dtype=torch.float64)),
            f"{DOWN} is float64; save it in one of float16, bfloat16",
        ),
        (widen, rf"{DOWN} is \[8, 513\], but by tiny-qwen2's config.json and its own rank it is \[8, 512\]"),
        (put(DOWN, torch.zeros(4, 512)), rf"{DOWN} is \[4, 512\], but by tiny-qwen2's .* it is \[8, 512\]"),
        (put(DOWN.replace("layers.0", "layers.3"), torch.zeros(8, 512)), "layers.3.mlp.* has no place in tiny-qwen2"),
        (put("base_model.model.layers.0.x", torch.zeros(1)), "base_model.model.layers.0.x has no place in tiny-qwen2"),
        (lambda weights: weights.pop(DOWN), f"lacks {DOWN}, which its adapter_config.json promises"),
    ],
)
def test_weights_that_are_wrong_are_named(
    project: Path, adapter: Path, change: Callable[[Weights], object], message: str
) -> None:
    change_weights(adapter, change)
    found = checked(project)
    assert len(found.problems) == 1
    with pytest.raises(AdapterError, match=f"^adapter 'tiny-listwise': .*{message}"):
        require([found])


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n", b""])
def test_weights_that_cannot_be_read_are_refused(project: Path, adapter: Path, content: bytes) -> None:
    (adapter / ADAPTER_FILES[1]).write_bytes(content)
    assert "cannot be read" in checked(project).problems[0]


@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "optimizer.pt"])
def test_pickled_files_are_refused(project: Path, adapter: Path, name: str) -> None:
    (adapter / name).write_bytes(b"x")
    assert f"{name} is pickled, which runs code when read; delete it" in checked(project).problems[0]


# Its config.


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"modules_to_save": ["lm_head"]}, r'modules_to_save is \["lm_head"\], which vLLM 0.19.1 does not support'),
        ({"use_dora": True}, "use_dora is true, which vLLM 0.19.1 does not support; train it without, merge it"),
        (
            {"bias": "lora_only"},
            'bias is "lora_only", which vLLM 0.19.1 does not support; .* or set engine = "transformers"',
        ),
        ({"rank_pattern": {"q_proj": 4}}, r'rank_pattern is \{"q_proj": 4\}, which vLLM 0.19.1 does not support'),
        ({"alpha_pattern": {"q_proj": 4}}, r'alpha_pattern is \{"q_proj": 4\}, which vLLM 0.19.1 does not support'),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices is .*, which vLLM 0.19.1 does not support"),
        ({"init_lora_weights": "pissa"}, 'init_lora_weights is "pissa", which vLLM 0.19.1 does not support'),
        ({"of_a_later_peft": 3}, "of_a_later_peft is 3, which vLLM 0.19.1 does not support"),
        ({"alora_invocation_tokens": [5]}, r"alora_invocation_tokens is \[5\], which neither engine supports"),
        ({"megatron_config": {"a": 1}}, "megatron_config is .*, which neither engine supports"),
        ({"r": 0}, r"adapter_config.json: r: is 0, but must be a whole number above 0"),
        ({"target_modules": ["nothing"]}, "does not match tiny-qwen2: .*arget module.* train it on this model"),
        (
            {"task_type": "SEQ_CLS"},
            "trained for the task SEQ_CLS, but stage 'list' requires CAUSAL_LM; use another adapter",
        ),
        ({"peft_type": "IA3"}, "its peft_type is IA3, and only LORA is supported"),
        ({"r": 16}, r"lora_A.weight is \[8, \d+\], but by tiny-qwen2's config.json and its own rank it is \[16, \d+\]"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    project: Path, adapter: Path, keys: dict[str, Any], message: str
) -> None:
    set_keys(adapter, **keys)
    with pytest.raises(AdapterError) as error:
        require([checked(project)])
    assert error.match(message)


def test_what_vllm_passes_over_is_accepted_where_peft_merges(project: Path, adapter: Path) -> None:
    """And a key that neither it nor any peft at hand knows is not."""
    set_keys(adapter, alpha_pattern={"q_proj": 4}, init_lora_weights="pissa")
    assert checked(project, engine="transformers").problems == []
    set_keys(adapter, of_a_later_peft=3)
    (told,) = checked(project, engine="transformers").problems
    assert told == (
        "adapter 'tiny-listwise': its of_a_later_peft is 3, which the installed peft does not support; install the "
        "peft that saved it, or train it without"
    )


def test_another_base_model_s_name_is_a_warning_where_the_shapes_match(project: Path, adapter: Path) -> None:
    set_keys(adapter, base_model_name_or_path="ann/tiny-qwen2-bnb-4bit")
    found = checked(project)
    assert (found.problems, found.not_proved) == ([], [])
    assert found.warnings == [
        "adapter 'tiny-listwise': trained on 'ann/tiny-qwen2-bnb-4bit', but the config gives it to "
        "'../sample/models/tiny-qwen2'; if that is the same model, set adapter_base = \"ann/tiny-qwen2-bnb-4bit\" "
        "beside it"
    ]
    assert f"  warning: {found.warnings[0]}" in list(lines([found]))


def embeddings(rows: int) -> Callable[[Weights], object]:
    return put("base_model.model.model.embed_tokens.weight", torch.zeros(rows, 256, dtype=torch.float16))


def test_saved_embeddings_are_accepted_where_they_load(project: Path, adapter: Path) -> None:
    change_weights(adapter, embeddings(2560))
    assert checked(project, engine="transformers").problems == []
    (told,) = checked(project).problems
    assert "embed_tokens.weight is a whole tensor, which vLLM does not load; save it with save_embedding_layers" in told
    change_weights(adapter, embeddings(2563))
    (told,) = checked(project, engine="transformers").problems
    assert "is [2563, 256], but tiny-qwen2's is [2560, 256], as after resizing its vocabulary; merge it" in told


def test_an_adapter_of_the_head_is_refused(project: Path, adapter: Path) -> None:
    set_keys(adapter, target_modules=["lm_head"])
    head = "base_model.model.lm_head.lora_{}.weight"
    save_file(
        {head.format("A"): torch.zeros(8, 256), head.format("B"): torch.zeros(2560, 8)}, adapter / ADAPTER_FILES[1]
    )
    assert checked(project).problems == [
        "adapter 'tiny-listwise': targets lm_head, but vLLM supports only the linear layers between embedding and "
        'head; train it without, merge it into its base model, or set engine = "transformers"'
    ]


@pytest.mark.parametrize(
    ("rank", "limit", "message"),
    [
        (8, 8, None),
        (8, None, None),
        (32, 16, "rank 32 is more than the engine's 16; raise max_lora_rank"),
        (8, 24, r"max_lora_rank = 24 is not one that vLLM accepts \(vllm-0.19.1.json\); use one of 1, 8, 16"),
        (513, None, "rank 513 is more than the engine's 512"),
    ],
)
def test_the_rank_is_one_that_the_engine_is_set_up_for(
    project: Path, adapter: Path, rank: int, limit: int | None, message: str | None
) -> None:
    if rank != 8:
        set_keys(adapter, r=rank)
    found = checked(project, **({} if limit is None else {"max_lora_rank": limit}))
    assert found.rank == rank
    if message is None:
        assert found.problems == []
    else:
        with pytest.raises(AdapterError, match=message):
            require([found])


def test_an_encoders_adapter_has_no_engine_to_fit(project: Path) -> None:
    """But its own task and its base's shapes."""
    encoder = project / "sample" / "adapters" / "retriever-minilm"
    set_keys(encoder, task_type="CAUSAL_LM")
    problems = checked(project, "retriever-minilm").problems
    assert "trained for the task CAUSAL_LM, but stage 'r1 (dense)' requires FEATURE_EXTRACTION" in problems[0]


# What cannot be known, and what does not matter.


def test_without_the_base_model_the_shapes_are_not_proved(project: Path) -> None:
    text = (project / "configs" / "tiny-llm.toml").read_text()
    away = text.replace("../sample/models/tiny-qwen2", "kaggle:ann/tiny/transformers/tiny-qwen2/1")
    (project / "configs" / "tiny-llm.toml").write_text(away)
    for name in ("tiny-listwise", "tiny-pointwise"):
        set_keys(project / "sample" / "adapters" / name, base_model_name_or_path="tiny-qwen2")
    found = checked(project)
    assert found.problems == []
    assert [told.partition(":")[0] for told in found.not_proved] == ["its shapes against the base's config.json"]


def test_a_base_model_that_transformers_does_not_know_is_not_proved(project: Path) -> None:
    path = project / "sample" / "models" / "tiny-qwen2" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "unheard-of"}))
    found = checked(project)
    assert found.problems == []
    assert "no model can be built from its config.json" in found.not_proved[0]


def test_an_adapter_of_a_part_that_is_off_is_told_of_and_is_no_error(project: Path, adapter: Path) -> None:
    text = (project / "configs" / "tiny-llm.toml").read_text()
    for name in ("list", "final"):
        text = text.replace(f'name = "{name}"\n', f'name = "{name}"\nenabled = false\n')
    (project / "configs" / "tiny-llm.toml").write_text(text)
    shutil.rmtree(adapter)
    found = checked(project)
    assert "is missing; train it or correct the name" in found.problems[0]
    require([found])


# Where the kernel finds it.


@pytest.fixture
def mounted(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The adapters where Kaggle mounts a dataset, and no longer beside the config; another kind's beside it."""
    inputs = project / "input"
    folder = inputs / "datasets" / "ann" / "some-adapters"
    folder.parent.mkdir(parents=True)
    (project / "sample" / "adapters").rename(folder)
    for path, kind in ((folder, "adapters"), (inputs / "code", "code")):
        path.mkdir(exist_ok=True)
        (path / FILE).write_text(Manifest(kind, "", False, {}).as_json())
    shutil.copytree(folder / "tiny-listwise", inputs / "code" / "tiny-listwise")
    monkeypatch.setattr(runtime, "INPUT", inputs)
    return folder


def test_an_adapter_is_found_in_the_adapters_dataset(project: Path, mounted: Path) -> None:
    config = run_config(project, "transformers")
    model = config.language_models()["list"]
    assert adapters.adapter_path(model, config) == mounted / "tiny-listwise"
    check_run(config)


def test_an_adapter_beside_the_config_comes_first(project: Path, mounted: Path) -> None:
    beside = project / "sample" / "adapters" / "tiny-listwise"
    shutil.copytree(mounted / "tiny-listwise", beside)
    config = run_config(project)
    found = adapters.adapter_path(config.language_models()["list"], config)
    assert found is not None
    assert found.resolve() == beside


def test_an_adapter_that_is_nowhere_is_named(project: Path, mounted: Path) -> None:
    shutil.rmtree(mounted / "tiny-listwise")
    config = run_config(project)
    with pytest.raises(ModelError, match=r"adapter 'tiny-listwise': .*adapter_config\.json is missing; train it"):
        adapters.adapter_path(config.language_models()["list"], config)
