"""Kaggle's input folder for a test: our datasets as they are mounted there, with real wheels and a real uv."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cascade.base import manifest
from cascade.base.manifest import Entry, Manifest
from cascade.base.runtime import ROOT
from packer.datasets import project_wheel

COMPETITION = "eedi-mining-misconceptions-in-mathematics"
CONFIG = """
[[retrieval]]
name = "r1"
top_k = 25
[[retrieval.retriever]]
kind = "tfidf"

[ensemble]
weights = { r1 = 1.0 }
"""


def make_wheels(folder: Path) -> Path:
    """uv and six as they are published, and a wheel through which the environment finds this one's packages."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, f"uv=={version('uv')}", "six"], check=True, capture_output=True)
    info = "everything-1.0.dist-info"
    files = {
        "everything.pth": sysconfig.get_path("purelib"),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: everything\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "everything-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))
    return folder


def make_inputs(root: Path, wheels: Path, data: Path) -> Path:
    """`root` as Kaggle's input folder: code, wheels and the competition's data, each in a layout seen there."""
    code = root / "datasets" / "ada" / "cascade-code"
    shutil.copytree(wheels / "ours", code)
    for folder in ("notebooks", "configs", "profiles"):
        shutil.copytree(ROOT / folder, code / folder)
    (code / "configs" / "kernel.toml").write_text(CONFIG)
    seal(code, "code")
    packed = root / "cascade-wheels"
    shutil.copytree(wheels, packed / "wheels", ignore=shutil.ignore_patterns("ours"))
    lock(packed)
    seal(packed, "wheels", abi=f"cp{sys.version_info.major}{sys.version_info.minor}", gpus=0)
    (root / "competitions" / COMPETITION).mkdir(parents=True)
    for name in ("train.csv", "test.csv", "misconception_mapping.csv"):
        shutil.copyfile(data / name, root / "competitions" / COMPETITION / name)
    return root


def lock(packed: Path) -> None:
    lines = []
    for wheel in sorted((packed / "wheels").glob("*.whl")):
        name, release = wheel.name.split("-")[:2]
        lines.append(f"{name}=={release} \\\n    --hash=sha256:{manifest.sha256(wheel)}\n")
    (packed / "image.lock").write_text("".join(lines))


def seal(folder: Path, kind: str, **about: Any) -> None:
    """Writes the manifest of what is in the folder now."""
    files = {
        path.relative_to(folder).as_posix(): Entry(path.stat().st_size, manifest.sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != manifest.FILE
    }
    (folder / manifest.FILE).write_text(Manifest(kind, "0123456789abcdef", False, files, about).as_json())


def change_about(folder: Path, **about: Any) -> None:
    told = json.loads((folder / manifest.FILE).read_text())
    told["about"] |= about
    (folder / manifest.FILE).write_text(json.dumps(told, sort_keys=True, indent=1))


def make_all_wheels(folder: Path) -> Path:
    """`make_wheels`, and under `ours` the project's own wheel."""
    make_wheels(folder)
    built = project_wheel.build(ROOT, folder.parent / "built")
    (folder / "ours").mkdir()
    shutil.copyfile(built, folder / "ours" / built.name)
    return folder
