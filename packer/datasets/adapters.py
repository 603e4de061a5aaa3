"""LoRA weights before they are packed: safe to read, for the model they are given to, within what the engine serves.

Shapes and names are held against what peft itself gives the base model, made from its config.json without weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cascade.base import manifest
from cascade.base.errors import CascadeError, ModelError
from cascade.config.schema import Config, CrossEncoderPipeline, LanguageModel
from cascade.models import adapter_checks, adapters, locate
from cascade.models.checks import engines
from cascade.models.checks.target import Target
from packer.datasets.contents import Model
from packer.wheels import requirements
from packer.wheels.images import Image

DTYPES = ("float16", "bfloat16", "float32")
HALF_MAX = 65504.0  # the largest float16, in which a T4 computes
# None: written by hand, as peft's own get_peft_model does.
TASKS: dict[str, tuple[str | None, ...]] = {
    "language model": (None, "CAUSAL_LM"),
    "embedding": (None, "FEATURE_EXTRACTION"),
    "cross-encoder": (None, "FEATURE_EXTRACTION", "SEQ_CLS"),
}
Shapes = dict[str, tuple[int, ...]]


class AdapterError(CascadeError):
    """Adapters that must not be packed."""


@dataclass
class Checked:
    """One adapter and what was found. `size` in bytes; `problems` of parts that are not enabled are no errors."""

    name: str
    stages: list[str]
    enabled: bool = False
    rank: int = 0
    targets: list[str] = field(default_factory=list)
    dtype: str = ""
    size: int = 0
    sha256: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_proved: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return self.enabled and bool(self.problems)


def check(config: Config, image: Image) -> list[Checked]:
    """Every adapter that the config names, by name; `image` tells which vLLM serves it."""
    uses: dict[str, list[tuple[str, Model, bool]]] = {}
    enabled = {stage for stage, _ in config.models()}
    for stage, model in config.models(off=True):
        if model.adapter is not None:
            uses.setdefault(model.adapter, []).append((stage, model, stage in enabled))
    return [_check_adapter(name, uses[name], config, image) for name in sorted(uses)]


def require(checked: list[Checked]) -> None:
    """AdapterError where one that is enabled has a problem."""
    failed = [each for each in checked if each.failed]
    if failed:
        more = f" (and {len(failed) - 1} more adapters)" if len(failed) > 1 else ""
        raise AdapterError.of_sentence(f"{failed[0].problems[0]}{more}")


def lines(checked: list[Checked]) -> Iterator[str]:
    """The report, a line at a time."""
    if not checked:
        yield "the config names no adapter"
    for each in checked:
        off = "" if each.enabled else ", not enabled"
        yield f"{each.name}: for {', '.join(each.stages)}{off}"
        if each.sha256:
            targets = ", ".join(each.targets)
            yield f"  rank {each.rank} on {targets}; {each.dtype}, {each.size / 1e6:.1f} MB"
            yield f"  sha256 {each.sha256}"
        for problem in each.problems:
            yield f"  wrong: {problem}"
        for told in each.warnings:
            yield f"  warning: {told}"
        for told in each.not_proved:
            yield f"  not proved: {told}"


def _check_adapter(name: str, uses: list[tuple[str, Model, bool]], config: Config, image: Image) -> Checked:
    # One that a part in use names is not judged by parts that are not.
    running = [use for use in uses if use[2]] or uses
    found = Checked(name, list(dict.fromkeys(stage for stage, _, _ in running)), running[0][2])
    folder = None
    for _, model, _ in running:
        try:
            folder = adapters.adapter_path(model, config)
        except ModelError as error:
            _add(found.problems, [str(error)])
    if folder is None:
        return found
    settings = adapters.read_settings(folder)
    _add(found.problems, _pickled(name, folder))
    weights = folder / adapters.ADAPTER_FILES[1]
    found.rank, found.size, found.sha256 = adapters.lora_rank(folder), weights.stat().st_size, manifest.sha256(weights)
    shapes = _read_weights(found, weights)
    found.targets = sorted({key.rpartition(".lora_")[0].rpartition(".")[2] for key in shapes if ".lora_" in key})
    for stage, model, _ in running:
        _add(found.problems, _task_problems(name, stage, model, settings))
        _add(found.warnings, [told] if (told := adapters.name_warning(model, folder)) else [])
        by_vllm = isinstance(model, LanguageModel) and config.engine == "vllm"
        arguments = {**config.vllm, **model.vllm} if isinstance(model, LanguageModel) else {}
        obeyed = _obeyed_by_vllm(found, arguments, image) if by_vllm else adapter_checks.installed_peft()
        unserved = [*adapter_checks.unserved(settings, obeyed)]
        _add_told(found, unserved)
        if not unserved:  # else peft may not take its config at all
            _check_against_base(found, model, config, folder, shapes)
        if by_vllm and not found.problems:
            _add_told(found, adapter_checks.unserved_weights(shapes))
    return found


def _add_told(found: Checked, told: Iterable[str]) -> None:
    _add(found.problems, [f"adapter '{found.name}': {each}" for each in told])


def _add(to: list[str], problems: list[str]) -> None:
    to.extend(each for each in problems if each not in to)


def _pickled(name: str, folder: Path) -> list[str]:
    files = sorted(path.name for kind in locate.PICKLED for path in folder.glob(kind))
    return [
        f"adapter '{name}': {folder / file} is pickled, which runs code when read; delete it, or save it as safetensors"
        for file in files[:1]
    ]


def _task_problems(name: str, stage: str, model: Model, settings: Mapping[str, Any]) -> list[str]:
    kind = "embedding"
    if isinstance(model, LanguageModel | CrossEncoderPipeline):
        kind = "language model" if isinstance(model, LanguageModel) else "cross-encoder"
    problems = []
    task = settings.get("task_type")
    if task not in TASKS[kind]:
        wanted = " or ".join(str(each) for each in TASKS[kind] if each)
        told = f"adapter '{name}': trained for the task {task}, but stage '{stage}' requires {wanted}"
        problems.append(f"{told}; use another adapter")
    return problems


def _obeyed_by_vllm(found: Checked, arguments: Mapping[str, Any], image: Image) -> adapter_checks.Obeyed | None:
    """What the image's vLLM obeys of an adapter; a rank that it does not take goes into `found`."""
    extract, where = _served(image)
    obeyed = None
    if extract is not None:
        version = f"vLLM {extract['version']}"
        obeyed = adapter_checks.Obeyed(version, extract["adapter_fields"], adapter_checks.WITHOUT_PEFT)
    ranks = sorted(extract["choices"]["MaxLoRARanks"]) if extract is not None else []
    limit = arguments.get("max_lora_rank")
    if not ranks:
        _add(found.not_proved, [f"the ranks and settings that vLLM accepts: {where}"])
    elif limit is not None and limit not in ranks:
        told = f"max_lora_rank = {limit} is not one that vLLM accepts ({where})"
        _add(found.problems, [f"adapter '{found.name}': {told}; use one of {', '.join(map(str, ranks))}"])
    most = min([*ranks[-1:], *([limit] if limit is not None else [])], default=found.rank)
    if found.rank > most:
        told = f"adapter '{found.name}': rank {found.rank} is more than the engine's {most}"
        _add(found.problems, [f"{told}; raise max_lora_rank, or train it with a lower rank"])
    return obeyed


def target(image: Image) -> Target:
    """The machine of an image, to check a run for."""
    record, _ = _served(image)
    vllm = engines.recorded(record) if record is not None else None
    has_vllm = _pins_vllm(image) is not None
    return Target(image.name, image.gpus, image.compute_capability, has_vllm, vllm, is_known=True)


def _pins_vllm(image: Image) -> str | None:
    """The version of vLLM that the image's requirements pin."""
    lines = requirements.read(image.requirements) if image.requirements.is_file() else []
    pinned = re.search(r"^vllm==([\w.]+)", "\n".join(line.text for line in requirements.wanted(lines)), re.MULTILINE)
    return pinned[1] if pinned else None


def _served(image: Image) -> tuple[dict[str, Any] | None, str]:
    """The names in the image's vLLM (see packer.vllm.api), and the file that has them or what is missing."""
    version = _pins_vllm(image)
    if version is None:
        return None, f"{image.requirements} pins no vllm"
    path = image.path.parent / f"vllm-{version}.json"
    if not path.is_file():
        return None, f"{path} is missing; run: python -m packer vllm-api WHEEL"
    return json.loads(path.read_text(encoding="utf-8")), path.name


def _read_weights(found: Checked, weights: Path) -> Shapes:
    """The shape of each tensor; what is wrong with types and values goes into `found`."""
    import torch
    from safetensors import SafetensorError, safe_open

    shapes: Shapes = {}
    dtypes = set()
    try:
        with safe_open(weights, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - no dict
                tensor = file.get_tensor(key)
                shapes[key] = tuple(tensor.shape)
                dtype = str(tensor.dtype).removeprefix("torch.")
                dtypes.add(dtype)
                if dtype not in DTYPES:
                    told = f"adapter '{found.name}': {key} is {dtype}; save it in one of {', '.join(DTYPES)}"
                    _add(found.problems, [told])
                elif not torch.isfinite(tensor).all():
                    told = f"adapter '{found.name}': {key} contains NaN or infinity; train it again"
                    _add(found.problems, [told])
                elif tensor.numel() and float(tensor.abs().max()) > HALF_MAX:
                    told = f"adapter '{found.name}': {key} is beyond float16's {HALF_MAX:.0f}, infinite on a T4"
                    _add(found.problems, [f"{told}; train it again"])
    except SafetensorError as error:  # a pointer that LFS left, or a torn copy
        told = f"adapter '{found.name}': {weights} cannot be read: {error}; fetch or train it again"
        _add(found.problems, [told])
    found.dtype = ", ".join(sorted(dtypes))
    return shapes


def _check_against_base(found: Checked, model: Model, config: Config, folder: Path, shapes: Shapes) -> None:
    try:
        base = locate.model_path(model.model, config.path.parent)
    except ModelError as error:
        _add(found.not_proved, [f"its shapes against the base's config.json: {error}"])
        return
    if not shapes:
        return
    try:
        expected, own = _expected(model, base, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # peft and transformers raise what they like; where peft finds no target, that is the adapter's fault.
        told = " ".join(str(error).split())[:200]
        if "arget module" in told:
            _add(
                found.problems, [f"adapter '{found.name}': does not match {base.name}: {told}; train it on this model"]
            )
            return
        _add(found.not_proved, [f"its shapes against {base.name}: no model can be built from its config.json ({told})"])
    else:
        # Whole tensors of the base model's own, as peft saves of embeddings, replace those when it is loaded.
        expected |= {key: own[key] for key in shapes if key in own}
        differing = list(_differences(found.name, base.name, expected, shapes))
        _add(found.problems, differing)
        if differing:
            return
    engine = config.engine if isinstance(model, LanguageModel) else None
    try:
        _add_told(found, _first(adapter_checks.misplaced(adapters.read_settings(folder), shapes, base, engine)))
    except ModelError as error:
        _add(found.problems, [str(error)])


def _first(told: Iterable[str]) -> list[str]:
    """One fault often shows in every layer."""
    return list(islice(told, 1))


def _differences(name: str, base: str, expected: Shapes, shapes: Shapes) -> Iterator[str]:
    """The first of each kind; one fault often shows in every layer."""
    wrong = [key for key in shapes if key in expected and shapes[key] != expected[key]]
    for key in [key for key in wrong if ".lora_" not in key][:1]:
        yield (
            f"adapter '{name}': {key} is {list(shapes[key])}, but {base}'s is {list(expected[key])}, as after resizing "
            f"its vocabulary; merge it into its base model where it was trained, and name the merged model"
        )
    for key in [key for key in wrong if ".lora_" in key][:1]:
        yield (
            f"adapter '{name}': {key} is {list(shapes[key])}, but by {base}'s config.json and its own rank it is "
            f"{list(expected[key])}; train it on this model"
        )
    for key in sorted(set(shapes) - set(expected))[:1]:
        yield f"adapter '{name}': {key} has no place in {base}; train it on this model"
    for key in sorted(set(expected) - set(shapes))[:1]:
        yield f"adapter '{name}': lacks {key}, which its adapter_config.json promises; save or train it again"


def _expected(model: Model, base: Path, folder: Path) -> tuple[Shapes, Shapes]:
    """What peft would save of this adapter on this base model, and what it would save of the model's own tensors.

    Nothing is allocated: only shapes are made.
    """
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    kind: Any = AutoModel
    settings = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if isinstance(model, LanguageModel):
        kind = AutoModelForCausalLM
    elif isinstance(model, CrossEncoderPipeline) and model.head == "classifier":
        kind, settings.num_labels = AutoModelForSequenceClassification, 1
    with torch.device("meta"):
        bare = kind.from_config(settings)
        lora = PeftConfig.from_pretrained(str(folder))
        lora.base_model_name_or_path = bare.name_or_path  # of another path it warns
        adapted = get_peft_model(bare, lora, low_cpu_mem_usage=True)
    saved = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    whole = {key: tuple(tensor.shape) for key, tensor in adapted.state_dict().items() if ".lora_" not in key}
    return {key: tuple(tensor.shape) for key, tensor in saved.items()}, whole
