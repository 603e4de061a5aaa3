"""Where this runs: on Kaggle or not, in the scoring rerun or not, and where relative paths start.

Needs nothing but the standard library.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where Kaggle mounts a kernel's inputs; a rehearsal sets the variable to a folder laid out alike.
INPUT = Path(os.environ.get("CASCADE_INPUT", "/kaggle/input"))

COMPETITION = "eedi"  # where a config names none


def resolve(path: str | Path) -> Path:
    """`path` as it stands where something is there, else the same under the project's root.

    A notebook run from the project's root and one opened in Jupyter, whose current folder is its
    own, so find the same files.
    """
    return Path(path) if Path(path).exists() else ROOT / path


def resolve_output(path: str | Path) -> Path:
    """Resolves a folder that may not be there yet: beside a configs/ folder, else under the root."""
    return Path(path) if Path(path).exists() or Path("configs").is_dir() else ROOT / path


def is_rerun() -> bool:
    """Whether this is Kaggle's run on the hidden test."""
    return bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))


def is_kaggle() -> bool:
    """Whether this is Kaggle's kernel, or a rehearsal of it: its input folder is there."""
    return INPUT.is_dir()
