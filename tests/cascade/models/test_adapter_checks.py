"""An adapter fits its base model and the engine that reads it, or is refused before hours are spent."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from cascade.base.errors import ModelError
from cascade.base.runtime import ROOT
from cascade.models import adapter_checks, locate
from cascade.models.adapters import lora_rank, merge_adapter
from cascade.models.checks import language_models
from cascade.models.checks.target import this_machine
from tests.nano import HIDDEN, LAYERS, PREFIX, check, config, model, write_adapter, write_model


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the source of an installed vLLM tells what it obeys of an adapter."""
    package = tmp_path / "site" / "vllm"
    (package / "engine").mkdir(parents=True)
    (package / "lora").mkdir()
    (package / "__init__.py").write_text('raise ImportError("importing it takes too long")\n')
    (package / "engine" / "arg_utils.py").write_text("class EngineArgs:\n    max_lora_rank: int = 16\n")
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return package / "lora" / "peft_helper.py"


def change_adapter(adapter: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    change(weights)
    save_file(weights, adapter / "adapter_model.safetensors")


def renamed(old: str, new: str) -> Callable[[dict[str, np.ndarray]], object]:
    def change(weights: dict[str, np.ndarray]) -> None:
        for key in [key for key in weights if old in key]:
            weights[key.replace(old, new)] = weights.pop(key)

    return change


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize(
    ("base", "answer", "told"),
    [
        ("Qwen/Qwen-Nano", None, None),
        ("/home/ann/models/qwen-nano", None, None),
        ("kaggle:qwen-lm/qwen/transformers/nano/1", None, None),
        ("Qwen/Qwen-Nano-AWQ", None, "trained on 'Qwen/Qwen-Nano-AWQ', but the config gives it to 'qwen-nano'"),
        (
            "ann/qwen-nano-bnb-4bit",
            None,
            'if that is the same model, set adapter_base = "ann/qwen-nano-bnb-4bit" beside',
        ),
        ("ann/qwen-nano-bnb-4bit", "ann/qwen-nano-bnb-4bit", None),
        ("C:\\my\\nano-16bit", "C:/my/nano-16bit", None),
        ("Qwen/Qwen-Micro", "ann/qwen-nano-bnb-4bit", "trained on 'Qwen/Qwen-Micro'"),
        (None, None, "names no base model, and the config gives it to 'qwen-nano'"),
        ("", None, "names no base model"),
        (None, "qwen-nano", None),
    ],
)
def test_a_base_model_of_another_name_is_a_warning(
    tmp_path: Path, nano_model: Path, adapter: Path, base: str | None, answer: str | None, told: str | None
) -> None:
    """Whether it is another model, the shapes tell."""
    write_adapter(adapter, base=base)
    locate.model_path.cache_clear()
    reason = {"model": "qwen-nano", "prompt": "p.txt", "adapter": "nano", "adapter_base": answer}
    run = config(tmp_path, reason=reason)
    found = language_models.facts("reason", run.language_models()["reason"], run, this_machine(begins=True))
    (fact,) = [fact for fact in found if fact.name == "reason: adapter"]
    assert fact.ok
    if told is None:
        assert fact.mend == ""
    else:
        assert fact.mend.startswith("adapter 'nano': ") and told in fact.mend


def test_a_base_without_an_adapter_is_refused() -> None:
    with pytest.raises(ValidationError, match="adapter_base requires an adapter; add it"):
        model(adapter_base="qwen-nano")


@pytest.mark.parametrize("where", ["run", "stage"])
def test_an_adapter_of_too_high_a_rank_is_refused(tmp_path: Path, nano_model: Path, adapter: Path, where: str) -> None:
    write_adapter(adapter, rank=32)
    assert lora_rank(adapter) == 32

    def with_rank(rank: int, engine: str = "vllm") -> Path:
        of = model(adapter="nano", vllm={"max_lora_rank": rank} if where == "stage" else {})
        run = {"max_lora_rank": rank if where == "run" else 999}
        return check(tmp_path, of, engine=engine, vllm=run)

    assert with_rank(32) == with_rank(16, "transformers") == nano_model
    with pytest.raises(ModelError, match="adapter 'nano': rank 32 is more than the engine's max_lora_rank = 16"):
        with_rank(16)


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("r", value) for value in (0, -5, "16", 16.0, None, True)],
        *[("lora_alpha", value) for value in (None, 0, "32", True)],
        *[("target_modules", value) for value in ([], "", None, [1], {})],
        ("rank_pattern", {"q_proj": 0}),
        ("rank_pattern", [16]),
        ("alpha_pattern", {"q_proj": None}),
        ("modules_to_save", "lm_head"),
        ("bias", "some"),
        ("init_lora_weights", 1.5),
        ("use_rslora", "true"),
        ("use_dora", 1),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_its_key(
    tmp_path: Path, adapter: Path, key: str, value: object
) -> None:
    write_adapter(adapter, **{key: value})
    with pytest.raises(
        ModelError, match=rf"nano/adapter_config\.json: {key}: is .*, but must be .*; correct it or train"
    ):
        check(tmp_path, model(adapter="nano"))


@pytest.mark.usefixtures("nano_model")
def test_settings_that_are_no_lora_adapter_s_are_refused(tmp_path: Path, adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    settings = json.loads(path.read_text())
    for content, told in (
        ([1], r"adapter_config\.json: contains a list instead of keys"),
        ({key: settings[key] for key in settings if key != "r"}, r"adapter_config\.json: r: is missing, but must be"),
        (
            settings | {"peft_type": "IA3"},
            "adapter 'nano': its peft_type is IA3, and only LORA is supported",
        ),
        (settings | {"megatron_config": {"a": 1}}, "'nano': its megatron_config is .*, which neither engine supports"),
        (
            settings | {"alora_invocation_tokens": [7]},
            "'nano': its alora_invocation_tokens is .*, which neither engine",
        ),
        (settings | {"init_lora_weights": "corda"}, 'init_lora_weights is "corda", which changed the base model'),
        (settings | {"init_lora_weights": "pissa_niter_16"}, "path_initial_model_for_weight_conversion"),
        (settings | {"of_a_later_peft": 1}, "of_a_later_peft is 1, which the installed peft does not support"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ModelError, match=told):
            check(tmp_path, model(adapter="nano"))


HELPER = """
class PEFTHelper:
    r: int
    lora_alpha: int
    target_modules: list
    use_dora: bool
    {more}: dict

    def scale(self):
        return self.r, self.lora_alpha, self.{more}

    def validate_legal(self):
        return self.use_dora or self.r > 9
"""


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rank_pattern", {"q_proj": 8}),
        ("alpha_pattern", {"q_proj": 8}),
        ("use_rslora", True),  # which this one passes over
        ("modules_to_save", ["norm"]),
        ("use_dora", True),
        ("bias", "all"),
        ("trainable_token_indices", [1]),
        ("lora_bias", True),
        ("init_lora_weights", "pissa"),
        ("target_parameters", ["mlp.experts"]),
    ],
)
def test_what_the_installed_vllm_does_not_obey_is_refused_before_the_run(
    tmp_path: Path, vllm: Path, adapter: Path, key: str, value: object
) -> None:
    """Whether it would refuse that itself at the first prompt, or pass over it."""
    write_adapter(adapter, **{key: value})
    vllm.write_text(HELPER.format(more="fan_in_fan_out"))
    told = (
        f"adapter 'nano': its {key} is .*, which the installed vLLM does not support; train it without, merge it into"
    )
    with pytest.raises(ModelError, match=told):
        check(tmp_path, model(adapter="nano"), engine="vllm")
    if key not in ("rank_pattern", "target_parameters"):  # whose shapes are others
        check(tmp_path, model(adapter="nano"), engine="transformers")
    vllm.write_text(HELPER.format(more="alpha_pattern"))
    if key == "alpha_pattern":  # another vLLM, which obeys it
        check(tmp_path, model(adapter="nano"), engine="vllm")


@pytest.mark.usefixtures("nano_model")
def test_a_pattern_that_changes_nothing_is_none(tmp_path: Path, vllm: Path, adapter: Path) -> None:
    write_adapter(adapter, rank_pattern={"q_proj": 16}, alpha_pattern={"q_proj": 32}, init_lora_weights="gaussian")
    vllm.write_text(HELPER.format(more="unheard_of"))
    check(tmp_path, model(adapter="nano"), engine="vllm")


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            renamed("model.layers", "model.language_model.layers"),
            "has no place in qwen-nano, .* have no model.language_mod",
        ),
        (renamed("layers.1", "layers.2"), r"layers\.2\..* has no place in qwen-nano"),
        (renamed("model.model.layers.1", "model.layers.1"), r"model\.layers\.1\..* has no place in qwen-nano"),
        (renamed("q_proj", "query_key_value"), "query_key_value.* has no place in qwen-nano"),
        (lambda weights: weights.pop(f"{PREFIX}.1.mlp.down_proj.lora_B.weight"), r"lacks .*1\.mlp\.down_proj\.lora_B"),
        (
            lambda weights: weights.update({f"{PREFIX}.1.mlp.down_proj.lora_B.weight": np.zeros((9, 16), np.float32)}),
            r"lora_B.weight is \[9, 16\], but qwen-nano's layer has 8 outputs; train it on this model",
        ),
        (
            lambda weights: weights.update(
                {f"{PREFIX}.0.self_attn.q_proj.lora_A.weight": np.zeros((4, 8), np.float32)}
            ),
            r"is of rank 4, but by its adapter_config\.json of 16; save it again",
        ),
    ],
)
def test_every_weight_of_an_adapter_has_its_place_in_the_base_model(
    tmp_path: Path, adapter: Path, engine: str, change: Callable[[dict[str, np.ndarray]], object], told: str
) -> None:
    change_adapter(adapter, change)
    with pytest.raises(ModelError, match=f"^adapter 'nano': .*{told}"):
        check(tmp_path, model(adapter="nano"), engine=engine)


@pytest.mark.parametrize("before", ["model.language_model.", "language_model.model."])
def test_vllm_finds_a_layer_by_its_exact_name_only(
    tmp_path: Path, nano_model: Path, adapter: Path, before: str
) -> None:
    """And peft by the name that its transformers gives it, which both orders of these words are."""
    (nano_model / "config.json").write_text(json.dumps({"text_config": {"hidden_size": HIDDEN}}))
    write_model(nano_model, before)
    change_adapter(adapter, renamed("model.layers", "model.language_model.layers"))
    assert check(tmp_path, model(adapter="nano")) == nano_model
    if before.startswith("model"):
        assert check(tmp_path, model(adapter="nano"), engine="vllm") == nano_model
    else:
        with pytest.raises(ModelError, match="has no place in qwen-nano"):
            check(tmp_path, model(adapter="nano"), engine="vllm")


def test_a_checkpoint_of_the_body_alone_has_a_place_for_each_layer(
    tmp_path: Path, nano_model: Path, adapter: Path
) -> None:
    write_model(nano_model, "")
    assert check(tmp_path, model(adapter="nano"), engine="vllm") == nano_model


@pytest.mark.parametrize(("outputs", "fits"), [(12, True), (16, False)])
def test_a_quantised_layer_s_width_is_read_from_what_it_is_packed_in(
    tmp_path: Path, nano_model: Path, adapter: Path, outputs: int, fits: bool
) -> None:
    def packed(weights: dict[str, np.ndarray]) -> None:
        for layer in range(LAYERS):
            name = f"model.layers.{layer}.self_attn.q_proj"
            weights.pop(f"{name}.weight")
            weights[f"{name}.qweight"] = np.zeros((HIDDEN, 2), np.int32)
            weights[f"{name}.scales"] = np.zeros((1, outputs), np.float16)

    weights = load_file(nano_model / "model.safetensors")
    packed(weights)
    save_file(weights, nano_model / "model.safetensors")
    if fits:
        assert check(tmp_path, model(adapter="nano")) == nano_model
    else:
        with pytest.raises(ModelError, match="qwen-nano's layer has 16 outputs"):
            check(tmp_path, model(adapter="nano"))


@pytest.mark.usefixtures("nano_model")
def test_what_lies_there_in_place_of_an_adapter_is_told(tmp_path: Path, adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.rename(adapter / "adapter_model.bin")
    with pytest.raises(
        ModelError, match=r"adapter_model\.bin is there, but it is pickled .* convert it: safetensors\."
    ):
        check(tmp_path, model(adapter="nano"))
    (adapter / "adapter_model.bin").rename(weights)
    for step in (1000, 500):
        shutil.copytree(adapter, tmp_path / "adapters" / "run" / f"checkpoint-{step}")
    told = r'its subfolder has an adapter \(checkpoint-500, checkpoint-1000\); name it: adapter = "run/checkpoint-1000"'
    with pytest.raises(ModelError, match=told):
        check(tmp_path, model(adapter="run"))
    check(tmp_path, model(adapter="run/checkpoint-1000"))
    weights.rename(adapter / "adapter_model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match="safetensors is there, a part of it; save the adapter again"):
        check(tmp_path, model(adapter="nano"))
    shutil.copytree(tmp_path / "qwen-nano", tmp_path / "adapters" / "merged")
    with pytest.raises(ModelError, match="a whole model is there; name it as `model`, without an adapter"):
        check(tmp_path, model(adapter="merged"))


def test_the_text_part_of_a_larger_model_is_what_an_adapter_must_fit(
    tmp_path: Path, nano_model: Path, adapter: Path
) -> None:
    text = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS}
    (nano_model / "config.json").write_text(
        json.dumps({"text_config": text, "hidden_size": 99, "num_hidden_layers": 0})
    )
    assert check(tmp_path, model(adapter=adapter.name)) == nano_model


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize(("shape", "told"), [((5, HIDDEN), "; its vocabulary was resized: merge"), ((4, 9), ": merge")])
def test_a_whole_weight_of_another_shape_is_refused(
    tmp_path: Path, adapter: Path, shape: tuple[int, int], told: str
) -> None:
    key = "base_model.model.model.embed_tokens.weight"
    change_adapter(adapter, lambda weights: weights.update({key: np.zeros(shape, np.float32)}))
    with pytest.raises(ModelError) as caught:
        check(tmp_path, model(adapter="nano"))
    assert f"{key} is {list(shape)}, but qwen-nano's is [4, {HIDDEN}]{told} it into its base model" in str(caught.value)


@pytest.mark.usefixtures("nano_model")
@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n", b""])
def test_an_adapter_whose_weights_cannot_be_read_is_refused(tmp_path: Path, adapter: Path, content: bytes) -> None:
    """What a clone without LFS leaves, and what a torn copy does."""
    (adapter / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="adapter 'nano'"):
        check(tmp_path, model(adapter="nano"))


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"init_lora_weights": "pissa"}, True),
        ({"use_dora": True, "alpha_pattern": {"q_proj": 4}, "rank_pattern": {"v_proj": 4}}, True),
        ({"trainable_token_indices": [1, 2], "bias": "all"}, True),
        ({"target_modules": ["embed_tokens", "q_proj"]}, True),  # saved with the embedding
        ({"alora_invocation_tokens": [5]}, False),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_accepted_for_transformers_computes_what_was_trained(
    tmp_path: Path, settings: dict[str, Any], accepted: bool
) -> None:
    """And what is refused, peft cannot merge."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = ROOT / "sample" / "models" / "tiny-qwen2"
    trained, fresh = (AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32) for _ in range(2))
    keys = {"target_modules": ["q_proj", "v_proj"], **settings}
    lora = get_peft_model(trained, LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM", **keys)).eval()
    torch.manual_seed(7)
    for weight in lora.parameters():
        if weight.requires_grad:
            weight.data += 0.02 * torch.randn_like(weight)
    lora.save_pretrained(tmp_path / "made")
    if not accepted:
        told = adapter_checks.problems(tmp_path / "made", base, adapter_checks.installed_peft(), "transformers")
        assert "which neither engine supports" in next(told)
        with pytest.raises(ModelError, match="does not match its base model"):
            merge_adapter(fresh, tmp_path / "made")
        return
    assert not [*adapter_checks.problems(tmp_path / "made", base, adapter_checks.installed_peft(), "transformers")]
    merge_adapter(fresh, tmp_path / "made")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        difference = (lora(ids).logits - fresh.eval()(ids).logits).abs().max()
    assert difference < 1e-4
