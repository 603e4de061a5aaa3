"""Whether a checkpoint of one part for each card can be loaded: vLLM's load_format = "sharded_state"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.config.schema import Config, LanguageModel
from cascade.models import locate
from cascade.models.checks import parallel, quantisation
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.target import Target

FORMAT = "sharded_state"
FILES = "model-rank-{rank}-part-{part}.safetensors"
MARK = "sharded.json"  # what `python -m packer shard` has made, and with which vLLM
MAKE = "make it: python -m packer shard MODEL OUT --tensor-parallel-size {cards}"
UNSHARDED = "remove load_format and name the model itself, or set quantization = 'awq' if it is AWQ's"


def is_on(model: LanguageModel, config: Config) -> bool:
    """Whether vLLM is to load the model from parts, in which no weight has its own name and shape."""
    return config.engine == "vllm" and {**config.vllm, **model.vllm}.get("load_format") == FORMAT


def facts(stage: str, model: LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    """Of a model that is loaded from parts, or whose folder has them; nothing of any other."""
    name = f"{stage}: load_format"

    def look() -> Iterator[Fact]:
        if config.engine != "vllm":
            return
        if is_on(model, config) and model.parallel != "tensor":
            told = f"load_format = '{FORMAT}' is for parallel = 'tensor'"
            yield Fact(name, False, told, "set parallel = 'tensor', or remove load_format")
            return
        if (found := parallel.spread(model, config, target)) is None:
            return
        folder, cards = found
        ranks = ranks_in(folder)
        if not is_on(model, config):
            if ranks:
                told = f"{folder} has a part for each of {len(ranks)} cards"
                yield Fact(name, False, told, f"set load_format = '{FORMAT}', or name the model itself")
            return
        quantised = quantisation.of(locate.read_json(folder / "config.json", model.model))
        if why := refused(quantised, {**config.vllm, **model.vllm}.get("quantization")):
            yield Fact(name, False, f"{folder / 'config.json'}: {why}", UNSHARDED)
        elif ranks or any(folder.glob("*.safetensors")):  # else what describes it was fetched alone
            yield from _parts(name, folder, ranks, cards, target)

    return tried(name, look, target.is_here)


def _parts(name: str, folder: Path, ranks: set[int], cards: int, target: Target) -> Iterator[Fact]:
    wanted = set(range(cards))
    for rank in sorted(wanted - ranks):
        told = f"{folder} has no {FILES.format(rank=rank, part='*')}, the part of card {rank}"
        yield Fact(name, False, told, MAKE.format(cards=cards))
        return
    if ranks - wanted:
        yield Fact(name, False, f"{folder} has parts for {len(ranks)} cards, of {cards}", MAKE.format(cards=cards))
    elif why := _of_another_vllm(folder, target):
        yield Fact(name, False, why, "make it again with that vLLM: another may name the weights otherwise")
    else:
        yield Fact(name, True, f"a part for each of {cards} cards")


def _of_another_vllm(folder: Path, target: Target) -> str:
    """Nothing of parts that were made by other means, or where the target's vLLM has no version."""
    path, version = folder / MARK, target.vllm.record.get("version") if target.vllm is not None else None
    made_by = locate.read_json(path, folder.name).get("vllm") if path.is_file() else None
    return (
        f"{path}: vllm is {made_by}, and {target.name} has {version}"
        if version and made_by not in (None, version)
        else ""
    )


def ranks_in(folder: Path) -> set[int]:
    """The cards whose parts lie in the folder."""
    before, after = FILES.split("{rank}")[0], FILES.split("{rank}")[1].split("{part}")[0]
    found = (path.name for path in folder.glob(FILES.format(rank="*", part="*")))
    numbers = (name.removeprefix(before).split(after)[0] for name in found)
    return {int(number) for number in numbers if number.isdigit()}


def refused(quantised: Mapping[str, Any], argument: str | None) -> str:
    """Why vLLM cannot load its own parts of such a checkpoint; "" where it can.

    It saves the weights as `process_weights_after_loading` has left them, and does that to them again after loading:
    what a kernel has packed has another shape then, or is packed twice. The weights of no quantisation stay as they
    are, and those of AWQ's own kernel.
    """
    name = quantisation.method(quantised) or argument or ""
    if not name or (name == "awq" and quantisation.marlin(quantised, argument) is None):
        return ""
    kernel = " for its kernel Marlin" if quantisation.marlin(quantised, argument) else ""
    return f"its quantisation is {name}, whose weights vLLM packs{kernel} before it saves them, and again once loaded"
