"""The rehearsal's part of `python -m tests.bench`: the sample's whole bundle green, and broken in each way, red.

Needs the wheels of cpu-linux: `make wheels IMAGE=cpu-linux`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat

from cascade.base.runtime import ROOT

Figures = Iterator[tuple[str, float, str]]
IMAGE = "cpu-linux"
QUESTIONS = 10
COPIED = ("cascade", "notebooks", "configs", "profiles", "sample/models", "sample/adapters")
FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "dataset-metadata.json", "kernel-metadata.json")


def copy(folder: Path) -> Path:
    """The project as far as it is packed, its wheels hard-linked."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "wheels" / IMAGE, folder / "wheels" / IMAGE, copy_function=os.link)
    for kind in ("toml", "in", "lock"):
        shutil.copy(ROOT / "wheels" / f"{IMAGE}.{kind}", folder / "wheels")
    return folder


def add_to_retrieval(project: Path, source: str) -> None:
    """A cell at the end of retrieve.ipynb."""
    path = project / "notebooks" / "retrieve.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)


def a_wheel_left_out(project: Path) -> None:
    next((project / "wheels" / IMAGE).glob("peft-*.whl")).unlink()


def a_wheel_left_out_with_its_line(project: Path) -> None:
    a_wheel_left_out(project)
    lock = project / "wheels" / f"{IMAGE}.lock"
    lock.write_text(re.sub(r"^peft==.*\n(?:    .*\n)*", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def an_import_not_vendored(project: Path) -> None:
    add_to_retrieval(project, "import polars")


def an_import_that_no_proof_sees(project: Path) -> None:
    add_to_retrieval(project, "import importlib\nimportlib.import_module('po' + 'lars')")


def a_hard_coded_path(project: Path) -> None:
    add_to_retrieval(project, f"open({str(ROOT / 'README.md')!r})")


def a_download(project: Path) -> None:
    add_to_retrieval(project, "import urllib.request\nurllib.request.urlopen('https://models.example.org/weights')")


def too_much_kept(project: Path) -> None:
    add_to_retrieval(project, "open('large', 'wb').write(bytes(40_000_000))")


# What each must be told by.
BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (a_wheel_left_out, r"✗ the wheels are exactly those of the lock\n +peft: "),
    (
        a_wheel_left_out_with_its_line,
        r"✗ every import has a wheel\n +peft: module peft is imported, but no wheel has it",
    ),
    (an_import_not_vendored, r"✗ every import has a wheel\n +polars: module polars is imported, but no wheel has it"),
    (an_import_that_no_proof_sees, r"✗ commit run: failed: retrieve-r1 .*No module named 'polars'"),
    (a_hard_coded_path, rf"✗ commit run: read: .*retrieve-r1.* tried {re.escape(str(ROOT / 'README.md'))}"),
    (a_download, r"✗ commit run: network: .*retrieve-r1.* tried the address of models\.example\.org"),
    (too_much_kept, r"✗ commit run: disk: more was written to /kaggle/working than its limit of 30\.0 MB"),
]


def rehearsed(project: Path, config: str, *options: str) -> tuple[int, str, float]:
    """As `make rehearse` does: the proofs, then the runs. Exit code, what it said, seconds."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    said, start = "", time.perf_counter()
    for command in (["verify", "--image", IMAGE], ["rehearse", "--questions", str(QUESTIONS), *options]):
        words = [sys.executable, "-m", "packer", *command, "--config", config]
        done = subprocess.run(words, cwd=project, env=variables, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr
        if done.returncode != 0:
            break
    return done.returncode, said, time.perf_counter() - start


def rehearsal_figures(folder: Path) -> Figures:
    """The green one with every stage, at most 30 minutes."""
    code, said, seconds = rehearsed(copy(folder / "whole"), "configs/tiny-llm.toml")
    print(said)
    yield "rehearsal", seconds / 60, "min"
    yield "rehearsal_green", float(code == 0), "of 1"
    shutil.rmtree(folder / "whole")


def broken_figures(folder: Path) -> Figures:
    """Each red one, at most 5 minutes, and whether it is told aright."""
    for damage, told in BROKEN:
        project = copy(folder / damage.__name__)
        damage(project)
        code, said, seconds = rehearsed(project, "configs/sample.toml", "--limit-working", "30MB")
        aright = code != 0 and re.search(told, said) is not None
        if not aright:
            print(said)
        yield f"rehearsal_of_{damage.__name__}", seconds / 60, "min"
        yield f"rehearsal_of_{damage.__name__}_told", float(aright), "of 1"
        shutil.rmtree(project)
