"""The environment variables of the processes that are started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# The image leaks into an environment of our own through these (Kaggle's PYTHONPATH starts with an empty entry).
REMOVED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "JUPYTER_PATH", "MPLBACKEND")


def clean(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables without those through which another environment leaks in."""
    return {name: value for name, value in environment.items() if name not in REMOVED}


def activated(python: Path) -> dict[str, str]:
    """The variables of processes in the environment: its programs come first."""
    return clean() | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
