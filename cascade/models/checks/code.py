"""Whether a model runs code of its own: what transformers itself has needs none."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cascade.base.errors import ModelError
from cascade.models import locate


def check_remote_code(model: str, folder: Path, trusted: bool) -> None:
    """ModelError for a model that runs code of its own, unless it is trusted."""
    if not trusted and needs_own(locate.read_json(folder / "config.json", model)):
        raise ModelError(
            f"{folder} contains its own code",
            key=f"model '{model}'",
            mend="read it, then set trust_remote_code = true, or use a model that transformers knows",
        )


def needs_own(settings: Mapping[str, Any]) -> bool:
    """Whether a model's config.json names code of its own that the installed transformers does not have.

    Many models keep the `auto_map` of the time before transformers took them in; it is passed over then.
    """
    if "auto_map" not in settings:
        return False
    named = [settings.get("model_type"), *(settings.get("architectures") or [])]
    return len(named) < 2 or not all(f'"{name}"' in known() for name in named)


@cache
def known() -> str:
    """The tables of model types and architectures in transformers' source; importing them would import torch."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent / "models" / "auto"
    files = (folder / name for name in ("auto_mappings.py", "configuration_auto.py", "modeling_auto.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
