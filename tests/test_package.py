"""The package from outside: its version, its public names, and how light it is."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

import cascade
from cascade.base.runtime import ROOT

HEAVY = ("torch", "vllm", "kaggle", "sklearn", "matplotlib")


def test_every_public_name_is_there() -> None:
    assert {name: getattr(cascade, name) for name in cascade.__all__}.keys() == {"__version__", *cascade.MODULES}
    with pytest.raises(AttributeError, match="no attribute 'conduit'"):
        _ = cascade.conduit


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == cascade.__version__


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, cascade, packer, training; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.parametrize("package", ["cascade", "packer", "training"])
def test_each_program_shows_help_and_version(package: str) -> None:
    for option, shown in (("-h", "Usage"), ("--version", cascade.__version__)):
        done = subprocess.run([sys.executable, "-m", package, option], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and shown in done.stdout
