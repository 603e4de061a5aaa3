"""What runs where there is no internet: Kaggle's kernel, or anyone's machine. Importing it loads no torch.

The public names are loaded when first asked for: the kernel begins with pandas and scikit-learn alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.base.errors import CascadeError
    from cascade.config.schema import Config
    from cascade.run.conductor import conduct
    from cascade.stages.context import RunContext, open_context

__version__ = "0.1.0"
__all__ = ["CascadeError", "Config", "RunContext", "__version__", "conduct", "open_context"]
MODULES = {
    "CascadeError": "cascade.base.errors",
    "Config": "cascade.config.schema",
    "RunContext": "cascade.stages.context",
    "conduct": "cascade.run.conductor",
    "open_context": "cascade.stages.context",
}


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module 'cascade' has no attribute '{name}'")
