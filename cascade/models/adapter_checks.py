"""Whether a LoRA adapter's every weight has its place in the base model, and its every setting an engine that obeys.

Asked before a run: vLLM passes over settings that it does not know and over layers that it does not find, and its
scores are then those of another model.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cascade.base.errors import ModelError
from cascade.models.adapters import ADAPTER_FILES, lora_rank, read_settings

Shapes = Mapping[str, tuple[int, ...]]
# How it was trained or saved, and which layers it has, which its weights' names tell.
INERT = frozenset(
    {
        "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout",
        "fan_in_fan_out", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
        "velora_config", "qalora_group_size", "runtime_config", "ensure_weight_tying",
        "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr",  # ms-swift's
    }
)  # fmt: skip
# Those of which peft cannot merge the weights, and one for which every layer here would be counted wrongly.
UNMERGED = ("alora_invocation_tokens", "arrow_config", "use_qalora", "megatron_config", "layer_replication")
# Initialisations that leave the base model as it is, and those that peft does again alike when it loads.
PLAIN = ("gaussian", "eva", "orthogonal", "mica")
REPEATED = ("pissa", "olora")
WITHOUT_PEFT = 'train it without, merge it into its base model, or set engine = "transformers"'
# Between embedding and head is where vLLM has LoRA for every architecture.
ENDS = ("embed_tokens", "lm_head")
PAIR = re.compile(r"\.lora_(A|B)\.weight$")
OF_PEFT = re.compile(r"\.(?:lora_|base_layer\b|token_adapter\b|modules_to_save\b|trainable_tokens)")


@dataclass(frozen=True)
class Obeyed:
    """The keys of adapter_config.json that an engine obeys, and who says so."""

    engine: str
    keys: Container[str]
    mend: str


def problems(
    adapter: Path, base: Path | None, obeyed: Obeyed | None, engine: str | None = None, max_rank: int | None = None
) -> Iterator[str]:
    """Where something else would be computed than was trained, a sentence each.

    base: the model's folder; None where it is not at hand. obeyed: by the engine; None where nothing tells. engine: an
    LLM's; None where peft merges into an encoder. max_rank: vLLM's, if set.
    """
    settings, shapes = read_settings(adapter), read_shapes(adapter)
    rank = lora_rank(adapter)
    if engine == "vllm" and max_rank is not None and rank > max_rank:
        yield (
            f"adapter '{adapter.name}': rank {rank} is more than the engine's max_lora_rank = {max_rank}; "
            f"raise it or leave it out"
        )
    wrong = chain(
        unserved(settings, obeyed),
        misplaced(settings, shapes, base, engine) if base is not None else (),
        unserved_weights(shapes) if engine == "vllm" else (),
    )
    yield from (f"adapter '{adapter.name}': {told}" for told in wrong)


# The engines.


def fields_obeyed(module: ast.Module) -> list[str]:
    """The keys of adapter_config.json that a vLLM obeys, by its lora/peft_helper.py; those only refused are not."""
    helper = next((n for n in ast.walk(module) if isinstance(n, ast.ClassDef) and n.name == "PEFTHelper"), None)
    if helper is None:
        return []
    fields = {n.target.id for n in helper.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    reads = {
        method.name: {
            node.attr
            for node in ast.walk(method)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self" and isinstance(node.ctx, ast.Load)
        }
        for method in helper.body
        if isinstance(method, ast.FunctionDef)
    }
    validating, found = set(), {"validate_legal"}
    while found:
        validating |= found
        found = {name for method in found for name in reads.get(method, set()) if name in reads} - validating
    used = {name for method, names in reads.items() if method not in validating for name in names}
    checked = {name for method in validating for name in reads.get(method, set())}
    return sorted(name for name in fields - (checked - used) if not name.startswith("vllm_"))


def installed_vllm() -> Obeyed | None:
    """Reads what the installed vLLM obeys from its source, as importing it takes long; None where none is installed."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "lora" / "peft_helper.py"
    keys = fields_obeyed(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else []
    if not keys:
        raise ModelError(
            "cannot be read, so what vLLM supports of an adapter is unknown",
            path=path,
            mend="set engine = 'transformers'",
        )
    return Obeyed("the installed vLLM", keys, WITHOUT_PEFT)


def installed_peft() -> Obeyed | None:
    """Reads what the installed peft obeys from its source, as importing it imports torch."""
    spec = importlib.util.find_spec("peft")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "tuners" / "lora" / "config.py"
    classes = (n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.ClassDef))
    body = next(node.body for node in classes if node.name == "LoraConfig")
    return Obeyed(
        "the installed peft",
        {n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)},
        "install the peft that saved it, or train it without",
    )


def unserved(settings: Mapping[str, Any], obeyed: Obeyed | None) -> Iterator[str]:
    """What the adapter's config asks for and does not get, a sentence each; `obeyed`: None where no engine tells."""
    init = settings.get("init_lora_weights")
    for key in _asked(settings):
        given = f"its {key} is {json.dumps(settings[key])[:60]}"
        if key in UNMERGED:
            yield f"{given}, which neither engine supports; train it without"
        elif key == "init_lora_weights" and init not in REPEATED:
            yield (
                f"{given}, which changed the base model in training; save it again with peft's "
                f"path_initial_model_for_weight_conversion"
            )
        elif obeyed is not None and key not in obeyed.keys:
            yield f"{given}, which {obeyed.engine} does not support; {obeyed.mend}"


def _asked(settings: Mapping[str, Any]) -> Iterator[str]:
    """The keys that make the adapter compute otherwise than without them."""
    whole = {"rank_pattern": settings["r"], "alpha_pattern": settings["lora_alpha"]}
    for key, value in settings.items():
        if key in INERT or not value:
            continue
        if key == "bias" and value == "none":
            continue
        if key == "init_lora_weights" and (value is True or value in PLAIN):
            continue
        if key in whole and set(value.values()) == {whole[key]}:
            continue
        yield key


def unserved_weights(shapes: Shapes) -> Iterator[str]:
    """What vLLM does not load of an adapter's weights, a sentence each."""
    for key in (key for key in shapes if not PAIR.search(key) and "lora_embedding_" not in key):
        yield (
            f"{key} is a whole tensor, which vLLM does not load; save it with save_embedding_layers=False if it is "
            f"the base model's own, else {WITHOUT_PEFT}"
        )
        return
    for target in sorted({_module(key).rpartition(".")[2] for key in shapes}.intersection(ENDS)):
        told = f"targets {target}, but vLLM supports only the linear layers between embedding and head"
        yield f"{told}; {WITHOUT_PEFT}"


# The base model.


def read_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each of its tensors by name."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / ADAPTER_FILES[1], framework="numpy") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no dict
    except SafetensorError as error:  # a pointer that LFS left, or a torn copy
        raise ModelError(
            f"{ADAPTER_FILES[1]} cannot be read: {error}",
            key=f"adapter '{adapter.name}'",
            mend="fetch or train it again",
        ) from error


def misplaced(settings: Mapping[str, Any], shapes: Shapes, base: Path, engine: str | None) -> Iterator[str]:
    """Which weights have no place in the base model, by the headers of its safetensors, a sentence each."""
    places = _Places(base, settings, engine)
    if not places.tensors:
        return
    pairs: dict[str, dict[str, int]] = {}
    saved = settings.get("modules_to_save") or []
    regular = not settings.get("use_bdlora") and not settings.get("target_parameters")  # else of shapes of their own
    for key, shape in shapes.items():
        module = _module(key)
        if module.rpartition(".")[2] in saved and not PAIR.search(key):
            continue  # its own
        place = places.find(module)
        if place is None:
            yield f"{key} has no place in {base.name}, whose weights have no {module}; train it on this model"
            continue
        pair = PAIR.search(key)
        if pair and len(shape) == 2 and regular:
            rank, width = shape if pair[1] == "A" else (shape[1], shape[0])
            pairs.setdefault(module, {})[pair[1]] = rank
            wanted = _rank(settings, module)
            limits = places.widths(place)
            if rank != wanted:
                yield f"{key} is of rank {rank}, but by its {ADAPTER_FILES[0]} of {wanted}; save it again"
            elif limits and width != limits.get(pair[1], width):
                yield (
                    f"{key} is {list(shape)}, but {base.name}'s layer has {limits[pair[1]]} "
                    f"{'inputs' if pair[1] == 'A' else 'outputs'}; train it on this model"
                )
        elif ".lora_" not in key and key.endswith(".weight"):
            whole = places.tensors.get(f"{place}.weight")
            if whole and whole[1] != "U8" and whole[0] != shape:
                resized = "; its vocabulary was resized" if len(shape) == 2 and shape[1:] == whole[0][1:] else ""
                yield (
                    f"{key} is {list(shape)}, but {base.name}'s is {list(whole[0])}{resized}: merge it into its base "
                    f"model where it was trained, and name the merged model"
                )
    for module, halves in pairs.items():
        if len(halves) == 1:
            other = "B" if "A" in halves else "A"
            yield f"lacks {module}.lora_{other}.weight, the other half of a pair; save or train it again"


def _module(key: str) -> str:
    """The base model's module that a weight belongs to, as the adapter spells it."""
    name = key.removeprefix("base_model.model.")
    cut = OF_PEFT.search(name)
    return name[: cut.start()] if cut else name.rpartition(".")[0]


def _rank(settings: Mapping[str, Any], module: str) -> int:
    """The module's rank, by the first pattern that matches the end of its name, as peft reads them."""
    for pattern, rank in (settings.get("rank_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return int(rank)
    return int(settings["r"])


class _Places:
    """The base model's modules, from the headers of its safetensors, under the names that adapters may give them.

    vLLM finds a layer by its exact name and passes over all others; peft ends with an error, so here it may be loose.
    """

    def __init__(self, base: Path, settings: Mapping[str, Any], engine: str | None) -> None:
        self.tensors: dict[str, tuple[tuple[int, ...], str]] = _headers(base)
        self.transposed = bool(settings.get("fan_in_fan_out"))
        modules = {name[:i] for name in self.tensors for i, letter in enumerate(name) if letter == "."}
        self.names = {name: name for name in modules}
        self.several = engine != "vllm" and _has_several_parts(base)
        first = {name.partition(".")[0] for name in modules}
        # The word that a class with a head puts before the names of its body; a checkpoint of the body lacks it.
        self.before = {"model", "transformer"} - first if engine else None  # of an encoder any
        for name in modules:
            if self.several:
                self.names.setdefault(_spelled(name), name)
            elif engine is None and "." in name:
                self.names.setdefault(name.partition(".")[2], name)
        embedding = next((name for name in modules if name.endswith(("embed_tokens", "wte", "embed_in"))), None)
        if embedding is not None and "lm_head" not in modules:
            self.names["lm_head"] = embedding  # tied

    def find(self, module: str) -> str | None:
        """The base model's name of it, else None."""
        if module in self.names:
            return self.names[module]
        if self.several:
            return self.names.get(_spelled(module))
        word, _, short = module.partition(".")
        return self.names.get(short) if self.before is None or word in self.before else None

    def widths(self, place: str) -> dict[str, int]:
        """Inputs as "A" and outputs as "B" of a linear layer, as far as its tensors tell."""
        shape, dtype = self.tensors.get(f"{place}.weight", ((), ""))
        if len(shape) == 2 and dtype != "U8":  # else bitsandbytes' 4 bits in a column
            return dict(zip("AB" if self.transposed else "BA", shape, strict=True))
        packed, scales = (self.tensors.get(f"{place}.{name}", ((), ""))[0] for name in ("qweight", "scales"))
        if len(packed) != 2 or len(scales) != 2:
            return {}
        # AWQ packs outputs, GPTQ inputs.
        return {"B": scales[1]} if packed[1] == scales[1] else {"A": packed[0], "B": scales[1]}


def _has_several_parts(base: Path) -> bool:
    """Whether the LLM is the text part of a larger model."""
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", path=base / "config.json", mend="fetch the model again") from error
    return "text_config" in config or "vision_config" in config


def _spelled(module: str) -> str:
    """A module of a model of several parts without the words whose order changed between versions of transformers."""
    return re.sub(r"^(?:(?:model|language_model)\.)+", "", module)


def _headers(base: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each tensor; empty where the folder has no safetensors."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in sorted(base.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - no dict
                    part = file.get_slice(key)
                    found[key] = tuple(part.get_shape()), part.get_dtype()
        except SafetensorError as error:
            raise ModelError(f"cannot be read: {error}", path=path, mend="fetch the model again") from error
    return found
