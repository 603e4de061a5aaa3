"""The names a vLLM wheel offers: how they are read, and what is kept of the kernel's wheel."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import LanguageModel
from cascade.models.checks import quantisation, sharded
from packer.vllm import names as vllm_names
from packer.vllm.api import as_json, read_package, read_wheel
from packer.vllm.source import WheelError

KEPT = ROOT / "wheels" / "vllm-0.19.1.json"
T4 = configs.load(ROOT / "configs" / "t4x2.toml")
CONFIGS = [configs.load(path) for path in sorted((ROOT / "configs").glob("*.toml"))]

FILES = {
    "_version.py": "__version__: str\n__version__ = version = '9.8.7'\n",
    "engine/arg_utils.py": "raise ImportError('never imported')\nfrom typing import Any\n"
    "from vllm.config.model import DType, LogprobsMode, ModelConfig\nfrom vllm.backends import Backend\n\n"
    "@dataclass\nclass EngineArgs:\n"
    "    seed: int = 0\n    model: str | LogprobsMode = ModelConfig.model\n    share: float = ModelConfig.share\n"
    "    dtype: DType | None = None\n    backend: (\n        Backend | None\n    ) = None\n"
    "    room: dict[str, Any] | bool = get_field(ModelConfig, 'model')\n    level: Level = 1\n"
    "    hook: type[object] | None = None\n    aliases: ClassVar[list[str]] = []\n\n"
    "    def __post_init__(self): self.derived = 1\n",
    "entrypoints/llm.py": "from abc import ABC\nfrom vllm.entrypoints.common import Mixin as Offline\n\n"
    "class LLM(Offline[int], ABC):\n"
    "    def __init__(self, model, *, seed=0, **kwargs): pass\n\n"
    "    @overload\n    def generate(self, prompts): ...\n\n"
    "    def generate(self, prompts, params=None, *rest, use_tqdm=True): pass\n",
    "entrypoints/common/__init__.py": "from .mixin import Mixin\n",
    "entrypoints/common/mixin.py": "class Mixin(Generic):\n"
    "    def generate(self, other): pass\n\n    def get_tokenizer(self, group): pass\n\n"
    "class Generic: pass\n",
    "sampling_params.py": "from vllm.base import Base\nimport msgspec\n\n"
    "class SamplingParams(Base, msgspec.Struct, dict=True):\n    top_p: float = 1.0\n    _hidden: int = 0\n    n = 5\n",
    "base.py": "class Base(Exception):\n    allowed: list[int]\n",
    "lora/peft_helper.py": "@dataclass\nclass PEFTHelper:\n    r: int\n    alpha_pattern: dict = field()\n"
    "    target_modules: list\n    use_dora: bool = False\n    init: str = ''\n    vllm_scale: float = 1.0\n\n"
    "    def validate_legal(self, config): return self.r > 9 or self._refused()\n\n"
    "    def _refused(self): return self.use_dora or self.init\n\n"
    "    def scale(self): return self.alpha_pattern or self.r\n",
    "lora/request.py": "class LoRARequest:\n    lora_name: str\n",
    "outputs.py": "class CompletionOutput:\n    text: str\n\n"
    "class RequestOutput:\n    def __init__(self, prompt, *, cached=None):\n"
    "        self.prompt = prompt\n        self.cached: int = cached\n        self._kept = other.field = 1\n"
    "        print(self.read)\n",
    "logprobs.py": "class Logprob:\n    logprob: float\n",
    "config/model.py": "LogprobsMode = Literal['raw', 'processed']\nDType = Literal['auto', Half, 8]\n"
    "Half = Literal['half', 'float16']\n_FLOAT16_NOT_SUPPORTED_MODELS = {'gemma2': 'Unstable.'}\n\n"
    "class ModelConfig:\n    model: str = ''\n    share: float = Field(default=0.9, gt=0, le=1, repr=False)\n",
    "backends.py": "class Meta(EnumMeta): pass\n\nclass Backend(Enum, metaclass=Meta):\n"
    "    FLASH = 'flash'\n    TRITON = 'triton'\n    NONE = None\n\n    def path(self): pass\n",
    "config/lora.py": "MaxLoRARanks: TypeAlias = Literal[8, 16]\n",
    "model_executor/layers/quantization/__init__.py": "QuantizationMethods = Literal['awq']\n",
    "envs.py": "environment_variables: dict[str, Any] = {'VLLM_B': lambda: 1, 'VLLM_A': lambda: 2,\n"
    "    'VLLM_C': env_with_choices('VLLM_C', None, ['int8', 'fp8']),\n"
    "    'VLLM_D': env_with_choices('VLLM_D', None, ['a'], case_sensitive=False),\n"
    "    'VLLM_E': env_with_choices('VLLM_E', None, ['a', choose()])}\n",
    "model_executor/model_loader/__init__.py": "LoadFormats = Literal['auto', 'sharded_state']\n",
    "model_executor/model_loader/sharded_state_loader.py": "class ShardedStateLoader(Base):\n"
    "    DEFAULT_PATTERN = 'model-{rank}-{part}'\n\nclass Base: pass\n",
    "model_executor/layers/quantization/utils/marlin_utils.py": "MARLIN_SUPPORTED_GROUP_SIZES = [-1, 32]\n",
    "model_executor/kernels/linear/mixed_precision/marlin.py": "class MarlinLinearKernel:\n"
    "    def can_implement(self, c):\n        assert c == scalar_types.uint8\n\n"
    "    def process_weights_after_loading(self, layer):\n        if is_a_8bit:\n"
    "            assert c.weight_type in (scalar_types.uint4b8, scalar_types.int4), 'W8A8'\n",
    "model_executor/models/registry.py": "_TEXT_GENERATION_MODELS = {'QwenB': ('b', 'B'), 'QwenA': ('a', 'A')}\n",
}
EXTRACT = {
    "version": "9.8.7",
    "engine_arguments": {
        "backend": {"members": ["FLASH", "TRITON", "NONE"]},
        "dtype": {"choices": ["auto", "half", "float16", 8]},
        "hook": {},
        "level": {},
        "model": {"types": ["str"]},
        "room": {"types": ["dict", "bool"]},
        "seed": {"types": ["int"]},
        "share": {"types": ["float"], "gt": 0, "le": 1},
    },
    "llm_arguments": ["model", "seed"],
    "adapter_fields": ["alpha_pattern", "r", "target_modules"],
    "methods": {"generate": ["prompts", "params", "use_tqdm"], "get_tokenizer": ["group"]},
    "classes": {
        "CompletionOutput": ["text"],
        "LoRARequest": ["lora_name"],
        "Logprob": ["logprob"],
        "RequestOutput": ["cached", "prompt"],
        "SamplingParams": ["allowed", "top_p"],
    },
    "choices": {
        "LoadFormats": ["auto", "sharded_state"],
        "LogprobsMode": ["raw", "processed"],
        "MARLIN_SUPPORTED_GROUP_SIZES": [-1, 32],
        "MaxLoRARanks": [8, 16],
        "QuantizationMethods": ["awq"],
        "_FLOAT16_NOT_SUPPORTED_MODELS": ["gemma2"],
    },
    "environment": {"VLLM_A": {}, "VLLM_B": {}, "VLLM_C": {"choices": ["int8", "fp8"]}, "VLLM_D": {}, "VLLM_E": {}},
    "int8_weights": ["int4", "uint4b8"],
    "sharded_files": "model-{rank}-{part}",
    "architectures": ["QwenA", "QwenB"],
}


def make_wheel(folder: Path, **changed: str | None) -> Path:
    wheel = folder / "vllm-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in {**FILES, **changed}.items():
            if text is not None:
                archive.writestr(f"vllm/{file}", text)
    return wheel


def test_names_are_read_from_a_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert read_wheel(wheel) == {**EXTRACT, "wheel": {"file": wheel.name, "sha256": digest}}


def test_an_installed_package_reads_the_same(tmp_path: Path) -> None:
    for file, text in FILES.items():
        path = tmp_path / "vllm" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_package(tmp_path / "vllm") == EXTRACT


def test_a_method_that_is_gone_is_left_out(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, **{"entrypoints/common/mixin.py": "class Mixin: pass\n"})
    assert read_wheel(wheel)["methods"] == {"generate": ["prompts", "params", "use_tqdm"]}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("envs.py", None, "vllm/envs.py: no such file; "),
        ("lora/request.py", "LoRARequest = make()\n", "vllm/lora/request.py: has no class LoRARequest; "),
        ("lora/request.py", "from msgspec import LoRARequest\n", "nothing found for 'LoRARequest'; "),
        ("lora/peft_helper.py", None, "vllm/lora/peft_helper.py: no such file; "),
        ("lora/peft_helper.py", "class Renamed: pass\n", "nothing found for 'adapter_fields'; "),
        ("base.py", None, "vllm/base.py: no such file; "),
        ("base.py", "class Renamed: pass\n", "vllm/base.py: has no Base; "),
        ("envs.py", "variables = {}\n", "vllm/envs.py: has no environment_variables; "),
        ("envs.py", "environment_variables = {}\n", "nothing found for 'environment'; "),
        ("envs.py", "environment_variables = {**more, 'A': 1}\n", "environment_variables is not written as constants"),
        (
            "model_executor/kernels/linear/mixed_precision/marlin.py",
            "class MarlinLinearKernel: pass\n",
            "nothing found for 'int8_weights'; ",
        ),
        (
            "model_executor/model_loader/sharded_state_loader.py",
            "class ShardedStateLoader: pass\n",
            "nothing found for 'sharded_files'; ",
        ),
        ("config/lora.py", "MaxLoRARanks = Literal[8, RANKS]\n", "MaxLoRARanks is not written as constants; "),
        ("config/model.py", "LogprobsMode = str\n", "LogprobsMode is not written as constants; "),
        ("outputs.py", "class RequestOutput(:\n", "vllm/outputs.py: not readable as Python (invalid syntax"),
    ],
)
def test_what_is_not_where_it_belongs_is_told(tmp_path: Path, file: str, text: str | None, told: str) -> None:
    with pytest.raises(WheelError) as caught:
        read_wheel(make_wheel(tmp_path, **{file: text}))
    assert told in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "packer", "vllm-api", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_the_command_writes_the_same_bytes_for_the_same_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    out = tmp_path / "new" / "api.json"
    done = command(wheel, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == as_json(dict(reversed(read_wheel(wheel).items())))


def test_the_file_is_named_after_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from packer.__main__ import vllm_api

    monkeypatch.chdir(tmp_path)
    vllm_api(make_wheel(tmp_path))
    assert json.loads(Path("wheels/vllm-9.8.7.json").read_text())["version"] == "9.8.7"


@pytest.mark.parametrize("content", [b"not a zip file", None])
def test_what_is_no_wheel_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "vllm.whl"
    if content is not None:
        wheel.write_bytes(content)
    done = command(wheel, "--out", tmp_path / "api.json")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {wheel}: cannot be read as a wheel (")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "api.json").exists()


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def test_the_kept_file_is_as_the_command_writes_it(kept: dict[str, Any]) -> None:
    assert kept["version"] == "0.19.1"
    assert kept["wheel"]["file"].startswith("vllm-0.19.1-") and len(kept["wheel"]["sha256"]) == 64
    assert kept.keys() == EXTRACT.keys() | {"wheel"}
    assert KEPT.read_text() == as_json(kept)
    assert KEPT.stat().st_size < 40_000


def test_the_kernels_vllm_has_what_it_is_known_to_have(kept: dict[str, Any]) -> None:
    engine = set(kept["engine_arguments"])
    assert kept["engine_arguments"]["gpu_memory_utilization"] == {"gt": 0, "le": 1, "types": ["float"]}
    assert "TRITON_ATTN" in kept["engine_arguments"]["attention_backend"]["members"]
    assert "half" in kept["engine_arguments"]["dtype"]["choices"]
    assert {"gemma2", "gemma3"} <= set(kept["choices"]["_FLOAT16_NOT_SUPPORTED_MODELS"])
    assert "swap_space" not in engine
    wanted = "attention_backend logprobs_mode block_size max_lora_rank cpu_offload_gb disable_custom_all_reduce"
    assert engine >= {*wanted.split(), "enable_prefix_caching", "max_logprobs"}
    assert "cpu_offload_gb" in kept["llm_arguments"]
    assert kept["methods"]["generate"][:2] == ["prompts", "sampling_params"]
    assert "lora_request" in kept["methods"]["generate"]
    assert kept["methods"]["get_tokenizer"] == []
    classes = kept["classes"]
    assert "allowed_token_ids" in classes["SamplingParams"]
    assert "num_cached_tokens" in classes["RequestOutput"]
    assert {"logprobs", "token_ids"} <= set(classes["CompletionOutput"])
    assert {"lora_name", "lora_int_id", "lora_path"} <= set(classes["LoRARequest"])
    assert classes["Logprob"] == ["decoded_token", "logprob", "rank"]
    assert "processed_logprobs" in kept["choices"]["LogprobsMode"]
    assert {16, 64} <= set(kept["choices"]["MaxLoRARanks"])
    assert {"awq", "gptq"} <= set(kept["choices"]["QuantizationMethods"])
    assert "VLLM_USE_FLASHINFER_SAMPLER" in kept["environment"]
    assert kept["environment"]["VLLM_MARLIN_INPUT_DTYPE"] == {"choices": ["int8", "fp8"]}
    assert kept["int8_weights"] == ["uint4b8"]  # GPTQ's; AWQ's are uint4
    assert kept["sharded_files"] == sharded.FILES
    assert {"auto", "sharded_state"} <= set(kept["choices"]["LoadFormats"])
    assert kept["choices"]["MARLIN_SUPPORTED_GROUP_SIZES"] == list(quantisation.GROUPS)
    assert "Qwen2ForCausalLM" in kept["architectures"]
    assert kept["adapter_fields"] == ["lora_alpha", "r", "target_modules", "use_rslora"]  # no pattern by module


def test_the_kernels_vllm_has_every_name_that_is_used() -> None:
    """And the looking finds what is used at all, in each of its ways."""
    assert vllm_names.problems(json.loads(KEPT.read_text()), CONFIGS) == []
    assert vllm_names.misfits(json.loads(KEPT.read_text()), CONFIGS) == []
    arguments = {name for name, _ in vllm_names.engine_arguments(CONFIGS)}
    assert {"max_model_len", "max_lora_rank", "block_size"} <= arguments
    assert ("VLLM_ENABLE_V1_MULTIPROCESSING", "vllm_engine.py") in set(vllm_names.environment(CONFIGS))
    assert ("quantization", "awq_marlin", "t4x2.toml") in set(vllm_names.named(CONFIGS))
    used = [(called, name) for called, names in vllm_names.calls() for name in names]
    assert {
        ("SamplingParams", "allowed_token_ids"),
        ("SamplingParams", "detokenize"),
        ("generate", "lora_request"),
    } <= {*used}
    assert set(vllm_names.fields()) == {
        ("output", "outputs"), ("output", "num_cached_tokens"), ("outputs", "logprobs"), ("outputs", "token_ids"),
        ("first", "logprob"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "name", "told"),
    [
        (("engine_arguments",), "block_size", "engine argument block_size (tiny-llm.toml)"),
        (("environment",), "VLLM_HOST_IP", "environment variable VLLM_HOST_IP (vllm_engine.py)"),
        (("classes", "SamplingParams"), "allowed_token_ids", "SamplingParams(allowed_token_ids=…) (vllm_engine.py)"),
        (("classes", "RequestOutput"), "num_cached_tokens", "RequestOutput.num_cached_tokens (vllm_engine.py)"),
        (("choices", "QuantizationMethods"), "awq_marlin", "quantization = awq_marlin (t4x2.toml)"),
        (("methods", "generate"), "lora_request", "generate(lora_request=…) (vllm_engine.py)"),
        (("methods",), "get_tokenizer", "LLM.get_tokenizer() (vllm_engine.py)"),
        (("methods",), "generate", "LLM.generate() (vllm_engine.py)"),
    ],
)
def test_a_name_that_is_gone_is_told(place: tuple[str, ...], name: str, told: str) -> None:
    extract = json.loads(KEPT.read_text())
    names = extract
    for key in place:
        names = names[key]
    del names[name if isinstance(names, dict) else names.index(name)]
    assert told in vllm_names.problems(extract, CONFIGS)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("attention_backend", "TRITON_ATN", "one of 24 names (did you mean 'TRITON_ATTN'?)"),
        ("attention_backend", True, "one of 24 names"),
        ("dtype", "halff", "auto or half or float16 or bfloat16 or float or float32"),
        ("gpu_memory_utilization", "95%", "a float"),
        ("gpu_memory_utilization", True, "a float"),
        ("gpu_memory_utilization", 95, "at most 1"),
        ("gpu_memory_utilization", 0.0, "above 0"),
        ("cpu_offload_gb", -1, "at least 0"),
        ("max_num_seqs", 64.0, "an int"),
        ("enforce_eager", "yes", "a bool"),
        ("max_lora_rank", 24, "1 or 8 or 16 or 32 or 64 or 128 or 256 or 320 or 512"),
        ("runner", "generative", "auto or generate or pooling or draft"),
    ],
)
def test_a_value_that_vllm_refuses_is_told(kept: dict[str, Any], name: str, value: object, wanted: str) -> None:
    for table in ({"vllm": {name: value}}, {"pipeline": [pointwise(name, value)]}):
        config = T4.model_copy(update={"vllm": {}, "reason": None, "pipeline": [], **table})
        assert vllm_names.misfits(kept, [config]) == [
            f"engine argument {name} = {value!r} (t4x2.toml) must be {wanted}"
        ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("int8", []),
        ("fp8", []),
        ("INT8", ["environment variable VLLM_MARLIN_INPUT_DTYPE = 'INT8' (t4x2.toml) must be int8 or fp8"]),
    ],
)
def test_a_variable_with_a_value_that_vllm_refuses_is_told(kept: dict[str, Any], value: str, told: list[str]) -> None:
    config = T4.model_copy(update={"environment": {"VLLM_MARLIN_INPUT_DTYPE": value}})
    assert vllm_names.misfits(kept, iter([config])) == told
    assert vllm_names.problems(kept, [config]) == []


def test_a_load_format_is_one_of_vllm_s_names(kept: dict[str, Any]) -> None:
    config = T4.model_copy(update={"vllm": {"load_format": "shard_state"}})
    assert vllm_names.problems(kept, [config]) == ["load_format = shard_state (t4x2.toml)"]


def test_what_the_checks_take_for_vllm_s_own_is_held_against_it(kept: dict[str, Any]) -> None:
    choices = {**kept["choices"], "MARLIN_SUPPORTED_GROUP_SIZES": [-1, 64]}
    assert vllm_names.problems({**kept, "sharded_files": "part-{rank}", "choices": choices}, [T4]) == [
        "the file name model-rank-{rank}-part-{part}.safetensors (sharded.py)",
        "group_size of Marlin in (-1, 32, 64, 128) (quantisation.py)",
    ]


def pointwise(name: str, value: object) -> LanguageModel:
    """A stage of the T4's run with one engine argument of its own."""
    stage = T4.pipeline_named("p2")
    assert isinstance(stage, LanguageModel)
    return stage.model_copy(update={"vllm": {name: value}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attention_backend", "triton_attn"),
        ("attention_backend", "auto"),
        ("cpu_offload_gb", 8),
        ("gpu_memory_utilization", 1),
        ("hf_overrides", {"architectures": []}),  # the source leaves it open
        ("speculative_config", {"method": "ngram"}),
        ("hf_token", False),
        ("quantization", "of_a_plugin"),
    ],
)
def test_a_value_that_vllm_takes_is_none_of_it(kept: dict[str, Any], name: str, value: object) -> None:
    assert vllm_names.misfits(kept, [T4.model_copy(update={"vllm": {name: value}})]) == []


@pytest.mark.parametrize("path", sorted((ROOT / "wheels").glob("vllm-*.json")), ids=lambda path: path.stem)
def test_each_vllm_that_an_image_pins_has_what_the_code_and_the_configs_use(path: Path) -> None:
    extract = json.loads(path.read_text(encoding="utf-8"))
    assert vllm_names.problems(extract, CONFIGS) == vllm_names.misfits(extract, CONFIGS) == []
    assert as_json(extract) == path.read_text(encoding="utf-8")
