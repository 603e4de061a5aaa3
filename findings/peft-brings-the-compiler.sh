#!/usr/bin/env bash
# peft 0.21.2 beside bitsandbytes 0.50.2, torch 2.13.0, transformers 5.19.0, CPU (peft/import_utils.py, is_bnb_available;
# bitsandbytes/backends/default/ops.py).
# Guess before: bitsandbytes does nothing before somebody asks for 8 or 4 bits. Seen: `import peft` imports it wherever
# it is installed, GPU or not, and that imports torch's compiler back end, torch._inductor.compile_fx: some hundred
# modules more in every process that only merges a LoRA.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.19.0 peft==0.21.2 accelerate==1.15.0
imported() {
    "$python" -c 'import sys, peft; print(int("torch._inductor.compile_fx" in sys.modules), len(sys.modules))'
}
read -r alone modules < <(imported)
"$python" -m pip install --quiet --disable-pip-version-check bitsandbytes==0.50.2
read -r beside more < <(imported)
echo "import peft alone: compiler back end $alone, $modules modules; beside bitsandbytes: $beside, $more modules"
[ "$alone" = 0 ] || { echo "peft imports the compiler back end by itself"; exit 1; }
[ "$beside" = 1 ] || { echo "bitsandbytes brings the compiler back end no more"; exit 1; }
