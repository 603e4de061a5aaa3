"""A checkpoint in parts by the real vLLM, on two CPU processes: saved by it, and loaded again with the same scores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cascade.base.runtime import ROOT
from cascade.config.schema import LanguageModel
from cascade.processes import workers
from tests.llm import MODEL, POINTWISE, make_config, open_for_test

TWO = workers.device_slots(["cpu", "cpu"], together=True)
# vLLM's CPU build packs a linear layer's weight with oneDNN and takes it away, so that it is not saved. In every
# process that Python starts with this in its path, the weight stays.
WITHOUT_ONEDNN = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "vllm._custom_ops":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), setattr(module, "_supports_onednn", False))
        return spec

sys.meta_path.insert(0, Finder())
"""


def shard(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "packer", "shard", str(MODEL), str(out), "--dtype", "float32"]
    given = {**os.environ, **TWO[0].environment(), "VLLM_CPU_KVCACHE_SPACE": "1", **environment}
    return subprocess.run(line, cwd=ROOT, env=given, capture_output=True, text=True)


def scores(folder: Path, slots: list[workers.DeviceSlot], pipeline: str) -> np.ndarray:
    """The log-probabilities of two tokens after each of two prompts."""
    folder.mkdir()
    config = make_config(folder, pipeline, "vllm")
    model = config.pipeline[0]
    assert isinstance(model, LanguageModel)
    task = ("score", ([[5, 6, 7, 8, 9], [10, 11]], [20, 21]))
    with workers.Pool("p", slots, folder / "logs", open_for_test, (model, config, 2), config.environment) as pool:
        (done,) = pool.run([task])
    assert done.error is None, done.error
    return np.array(done.value[0])


def test_parts_score_as_the_model_does_under_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_ONEDNN)
    parts = tmp_path / "parts"
    done = shard(parts, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    names = [f"model-rank-{rank}-part-0.safetensors" for rank in (0, 1)]
    assert [line.split(":")[0] for line in done.stdout.splitlines() if "part-0" in line] == [
        str(parts / name) for name in names
    ]
    whole = f'{POINTWISE}dtype = "float32"\n'
    in_parts = whole.replace(str(MODEL), str(parts)) + 'parallel = "tensor"\nvllm = { load_format = "sharded_state" }\n'
    one = scores(tmp_path / "one", workers.device_slots(["cpu"]), whole)
    assert scores(tmp_path / "two", TWO, in_parts) == pytest.approx(one, abs=1e-4)


def test_parts_that_lack_weights_are_not_kept(tmp_path: Path) -> None:
    done = shard(tmp_path / "parts")
    assert done.returncode == 2, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and told[0].endswith("without an error; run it where the model is to run, on the cards")
    assert not list(tmp_path.iterdir())
