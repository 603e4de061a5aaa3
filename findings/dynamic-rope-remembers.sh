#!/usr/bin/env bash
# transformers 5.19.0 (models with rope_type "dynamic"; modeling_rope_utils.py, dynamic_rope_update), torch 2.13.0, CPU.
# Guess before: a text's logits depend on the text and the weights alone. Seen: after a text longer than the model's
# original length has been read, the angles stay stretched for every text down to the original length, so that the
# same text between the two scores otherwise than before; reading a shorter one than the original length resets it.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.19.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=32, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
)
model = LlamaForCausalLM(config).eval()
texts = {length: torch.randint(50, (1, length)) for length in (16, 40, 120)}


def last(length):
    with torch.no_grad():
        return model(texts[length]).logits[0, -1]


fresh = last(40)
again = last(40)
last(120)
after_long = last(40)
last(16)
after_short = last(40)
for name, found in (("again", again), ("after 120 tokens", after_long), ("after 16 tokens", after_short)):
    print(f"40 tokens, {name}: largest difference of a logit {float((found - fresh).abs().max()):.6f}")
assert torch.equal(fresh, again)
assert (after_long - fresh).abs().max() > 1e-4, "a longer text read before makes no difference any more"
assert torch.allclose(fresh, after_short, atol=1e-6)
PYTHON
