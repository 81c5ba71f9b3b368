"""GUDA: group-level attribution of generated images by counterfactual unlearning (arXiv 2601.22651).

The public API is what `__all__` lists; everything else may change without notice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guda import metrics
    from guda.api import attribute, elbo, unlearn
    from guda.core.errors import GudaError

__version__ = "0.2.0"
__all__ = ["GudaError", "attribute", "elbo", "metrics", "unlearn"]

_HOMES = {"GudaError": "guda.core.errors", "attribute": "guda.api", "elbo": "guda.api", "unlearn": "guda.api"}


def __getattr__(name: str) -> Any:
    """Import public names on first access, so that the workflow can plan with this package without torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "metrics":
        return import_module("guda.metrics")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
