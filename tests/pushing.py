"""A project as small as its kernel can be pushed, packed: the code, one wheel, one adapter, models that Kaggle has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from cascade.base.runtime import ROOT
from cascade.config.schema import load
from packer.datasets import staging
from packer.kaggle import kernel, push, state
from packer.kaggle.session import Session
from packer.wheels import images

MODEL = "qwen-lm/qwen2.5/transformers/14b-instruct-awq/1"
CONFIG = f"""
[[retrieval]]
name = "r1"
[[retrieval.retriever]]
kind = "dense"
model = "dataset:grace/e5/e5-folder"

[[pipeline]]
name = "p1"
kind = "pointwise"
candidates = "r1"
model = "kaggle:{MODEL}"
adapter = "yes-no"
prompt = "prompts/pointwise.txt"

[[pipeline]]
name = "p2"
enabled = false
kind = "pointwise"
candidates = "r1"
model = "kaggle:nobody/none/transformers/none/1"
prompt = "prompts/pointwise.txt"

[ensemble]
weights = {{ p1 = 1.0 }}
"""
IMAGE = """
python = "3.12.13"
abi = "cp312"
machine = "x86_64"
glibc = "2.35"
gpus = 2
accelerator = "NvidiaTeslaT4"
docker_image = "gcr.io/kaggle-gpu-images/python@sha256:0123"
extras = ["models"]
seen = "in a test"
"""
KINDS = ("code", "wheels", "adapters")
COMPETITION = "eedi-mining-misconceptions-in-mathematics"


def make_packed(folder: Path) -> Path:
    """Makes the project in `folder` and packs it, by `pack` itself."""
    with contextlib.chdir(make_project(folder)):
        staging.pack(load(Path("configs/t.toml")), images.load("t4"), say=[].append)
    return folder


def make_project(folder: Path) -> Path:
    """As it is before it is packed."""
    for name in ("kernel-metadata.json", "dataset-metadata.json", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("notebooks", "configs/prompts", "cascade"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    texts = {
        "configs/t.toml": CONFIG,
        "configs/adapters/yes-no/adapter_config.json": json.dumps(
            {
                "base_model_name_or_path": "Qwen/Qwen2.5-14B-Instruct-AWQ",
                "peft_type": "LORA",
                "r": 8,
                "lora_alpha": 16,
                "target_modules": ["q_proj"],
            }
        ),
        "configs/adapters/yes-no/adapter_model.safetensors": "weights",
        "wheels/t4.toml": IMAGE,
        "wheels/t4.lock": f"one==1.0 --hash=sha256:{hashlib.sha256(b'one').hexdigest()}\n",
        "wheels/t4/one-1.0-py3-none-any.whl": "one",
    }
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def push_it(said: list[str] | None = None) -> state.Pushed:
    """Pushes the kernel of the current folder; `said`: takes the lines that are printed."""
    session = Session(patience=2.0, pause=0.01)
    say = (said if said is not None else []).append
    return push.push_kernel(session, load(Path("configs/t.toml")), images.load("t4"), say=say, sleep=lambda _: None)


def edit(**changes: Any) -> None:
    """Changes kernel-metadata.json; None removes a key."""
    table = json.loads(Path("kernel-metadata.json").read_text()) | changes
    Path("kernel-metadata.json").write_text(json.dumps({k: v for k, v in table.items() if v is not None}))


def problems() -> list[str]:
    """What is wrong with the kernel of the current folder."""
    config, path = load(Path("configs/t.toml")), Path("kernel-metadata.json")
    return kernel.problems(kernel.read(path), path, config, images.load("t4"), "ada")
