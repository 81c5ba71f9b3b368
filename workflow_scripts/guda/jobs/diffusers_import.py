"""diffusers' networks, imported without what they do not use, by programs that may live for seconds only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class _Compiler(ModuleType):
    """In the place of torch's compiler while functions are only marked for it; asked for more, it is the compiler."""

    def disable(self, function: Callable | None = None, *args: Any, **options: Any) -> Callable:
        """What the mark leaves of a function that is never compiled: the function."""
        return self.allow_in_graph if function is None else function

    def allow_in_graph(self, function: Callable) -> Callable:
        return function

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


def import_networks_alone() -> None:
    """Import the ground of diffusers' networks without scipy.stats, transformers, peft, accelerate and torch._dynamo.

    diffusers imports these for schedulers, pipelines, adapters and compilation that no stage uses; they take longer
    than all else that a short job imports. In this process diffusers goes on without them, its text-to-image pipelines
    included. Nothing is kept from others: transformers and the compiler are there again when this returns.
    """
    hidden: dict[str, Any] = {"transformers": None, COMPILER: _Compiler(COMPILER)}
    hidden = {name: stand_in for name, stand_in in hidden.items() if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        import diffusers.utils.import_utils

        for package in ("scipy", "transformers", "peft", "accelerate"):
            setattr(diffusers.utils.import_utils, f"_{package}_available", False)
        import diffusers.models.unets.unet_2d
    finally:
        for name, stand_in in hidden.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
