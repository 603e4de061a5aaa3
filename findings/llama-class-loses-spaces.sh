#!/usr/bin/env bash
# transformers 5.19.0 (models/auto/tokenization_auto.py, models/llama/tokenization_llama.py), tokenizers 0.23, no torch.
# Guess before: a tokenizer.json is used as it is, whatever class tokenizer_config.json names; fast classes only wrap it.
# Seen: where tokenizer_config.json says LlamaTokenizerFast, as converted byte-level models do, and config.json's
# model_type is llama or gpt_neox, the class puts its own splitting in place of the file's: every space is lost, without
# a word. With model_type qwen2 or mistral the same folder is read as it is. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.19.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
made.train_from_iterator(["a fraction of a shape is not shaded"] * 9, trainer)
text = "a fraction is not a shape"
found = {}
for kind in ("llama", "gpt_neox", "qwen2", "mistral"):
    place = Path(sys.argv[1]) / kind
    place.mkdir()
    made.save(str(place / "tokenizer.json"))
    (place / "config.json").write_text(json.dumps({"model_type": kind}))
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizerFast"}))
    tokenizer = AutoTokenizer.from_pretrained(place)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found[kind] = tokenizer.decode(ids)
    print(f"model_type {kind}: {type(tokenizer).__name__}, {found[kind]!r}")
assert found["llama"] == found["gpt_neox"] == text.replace(" ", "")
assert found["qwen2"] == found["mistral"] == text
PYTHON
