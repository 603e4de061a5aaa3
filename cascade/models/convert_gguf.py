"""`python -m cascade.models.convert_gguf FILE FOLDER`: a GGUF as a folder that every engine loads, in float16."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert(source: Path, folder: Path) -> None:
    """Writes model and tokenizer to `folder`; the weights are dequantised."""
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),  # without it the model cannot be saved
        dtype=torch.float16,
    )
    model.config.name_or_path = ""  # the trainer's own name of a run
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
