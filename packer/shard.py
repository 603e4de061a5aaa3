"""Makes a checkpoint of one part for each card, by vLLM itself: what load_format = "sharded_state" reads.

As upstream's `examples/offline_inference/save_sharded_state.py`. It loads the model, so it runs where the cards are,
with the vLLM that is to load the parts: another version may name the weights otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from safetensors import safe_open

from cascade.base.errors import ModelError, StageError
from cascade.models import locate
from cascade.models.checks import parallel, quantisation, sharded
from cascade.scorers.vllm_engine import ENVIRONMENT

WEIGHTS = (".bin", ".pt", ".pth", ".safetensors", ".gguf")
INDEX = ".index.json"  # of the model's own files, which the parts are not
LARGEST = 5 * 1024**3  # bytes of a file, as upstream has it
HEAD = "lm_head.weight"  # which vLLM does not load where it is the embedding's own


def shard(model: Path, out: Path, cards: int, dtype: str = "float16", quantization: str | None = None) -> list[Path]:
    """Writes the parts and all that describes the model to `out`, whole or not at all, and returns the parts."""
    settings = _settings(model, cards, quantization)
    with _replaced(out) as scratch:
        version = _save(model, scratch, cards, dtype, quantization)
        for path in sorted(model.iterdir()):
            if path.is_file() and path.suffix not in WEIGHTS and not path.name.endswith(INDEX):
                shutil.copy(path, scratch / path.name)
        found = sharded.ranks_in(scratch)
        if found != set(range(cards)):
            raise ModelError(
                f"vLLM {version} has saved parts for cards {sorted(found)}, of {cards}",
                path=model,
                mend="use the kernel's vLLM, whose own files are called so",
            )
        # vLLM's CPU build takes a linear layer's weight away once it has packed it, and saves what is left.
        if _elements(scratch) < 0.99 * _elements(model):
            raise ModelError(
                f"vLLM {version} has saved parts that are less than the model, without an error",
                path=model,
                mend="run it where the model is to run, on the cards",
            )
        about = {"vllm": version, "cards": cards, "dtype": dtype, "model_type": settings.get("model_type")}
        (scratch / sharded.MARK).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return sorted(out.glob(sharded.FILES.format(rank="*", part="*")))


def _settings(model: Path, cards: int, quantization: str | None) -> dict[str, Any]:
    """The model's config.json; ModelError for what would only fail once it is loaded, or later in the kernel."""
    if not any(model.glob("*.safetensors")):
        raise ModelError("has no *.safetensors", path=model, mend="pass the folder of a model")
    settings: dict[str, Any] = locate.read_json(model / "config.json", model.name)
    if sharded.ranks_in(model):
        raise ModelError("is in parts already", path=model, mend="pass the model itself")
    if why := parallel.indivisible(settings.get("text_config", settings), settings, cards):
        raise ModelError(f"{why}, which {cards} cards cannot share", path=model, mend="use fewer cards")
    if why := sharded.refused(quantisation.of(settings), quantization):
        raise ModelError(why, path=model, mend="load it whole, or pass --quantization awq if it is AWQ's")
    return settings


def _elements(folder: Path) -> int:
    """How many numbers the weights in a folder have, by their headers."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name != HEAD]  # noqa: SIM118 - no dict
            total += sum(prod(file.get_slice(name).get_shape()) for name in names)
    return total


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Yields a folder beside `out` that takes its place at the end, and leaves nothing where anything fails."""
    if out.exists() and not out.is_dir():
        raise StageError("is a file", path=out, mend="pass a new folder")
    if out.is_dir() and any(out.iterdir()) and not (out / sharded.MARK).is_file():
        raise StageError(f"is not empty, and has no {sharded.MARK}", path=out, mend="pass a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        made = scratch / "new"
        made.mkdir()
        yield made
        if out.exists():
            out.rename(scratch / "old")
        made.rename(out)
    finally:
        shutil.rmtree(scratch)


def _save(model: Path, out: Path, cards: int, dtype: str, quantization: str | None) -> str:
    """Has vLLM load the model and save what each card holds; returns vLLM's version."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        mend = "run it with the Python that has vLLM, on the machine with the cards"
        raise ModelError(f"vLLM cannot be imported ({error})", key="packer shard", mend=mend) from error
    engine = vllm.LLM(
        model=str(model),
        dtype=dtype,
        quantization=quantization,
        tensor_parallel_size=cards,
        enforce_eager=True,  # nothing is asked of it
        max_model_len=256,
        max_num_seqs=1,
    )
    engine.llm_engine.engine_core.save_sharded_state(path=str(out), pattern=sharded.FILES, max_size=LARGEST)
    return str(vllm.__version__)
