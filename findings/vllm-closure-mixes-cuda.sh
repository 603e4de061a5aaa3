#!/usr/bin/env bash
# vllm 0.33.0's requirements as uv 0.13.9 resolves them for CPython 3.12 on Linux (flashinfer-python 0.7.2.post1 asks
# for cuda-python without a bound that agrees with cuda-bindings').
# Guess before: the closure of a wheel built for CUDA 13 is of CUDA 13. Seen: uv picks cuda-python 12 beside
# cuda-bindings 13, whose major versions belong together, and says nothing: each bound by itself holds.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9
echo "vllm==0.33.0" > "$folder/vllm.in"
"$folder/venv/bin/uv" pip compile --quiet --no-annotate --no-header --python-version 3.12 \
    --python-platform x86_64-manylinux_2_35 "$folder/vllm.in" > "$folder/vllm.txt"
grep -E '^cuda-(python|bindings)==' "$folder/vllm.txt"
python=$(grep -oP '^cuda-python==\K[0-9]+' "$folder/vllm.txt")
bindings=$(grep -oP '^cuda-bindings==\K[0-9]+' "$folder/vllm.txt")
[ "$bindings" = 13 ] || { echo "cuda-bindings is of CUDA $bindings"; exit 1; }
[ "$python" = 12 ] || { echo "cuda-python is of CUDA $python: both agree"; exit 1; }
