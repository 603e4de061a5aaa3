"""Where relative paths start. Needs nothing but the standard library."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def resolve(path: str | Path) -> Path:
    """`path` as it stands where something is there, else the same under the project's root.

    A notebook run from the project's root and one opened in Jupyter, whose current folder is its
    own, so find the same files.
    """
    return Path(path) if Path(path).exists() else ROOT / path


def resolve_output(path: str | Path) -> Path:
    """As `resolve`, for a folder that may not be there yet: beside a configs/ folder, else under the root."""
    return Path(path) if Path(path).exists() or Path("configs").is_dir() else ROOT / path
