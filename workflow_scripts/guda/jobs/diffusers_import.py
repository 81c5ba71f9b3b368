"""Fast import of diffusers' networks without unused dependencies, for programs that may run only seconds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class _Compiler(ModuleType):
    """Stands in for torch's compiler while modules only decorate functions; any other use loads the real one."""

    def disable(self, function: Callable | None = None, *args: Any, **options: Any) -> Callable:
        """Decorator that returns the function unchanged, since it is never compiled."""
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
    """Import diffusers' network base classes without scipy.stats, transformers, peft, accelerate and torch._dynamo.

    diffusers imports these for schedulers, pipelines, adapters and compilation that no stage uses, and they dominate
    the import time of short jobs. In this process diffusers then works without them, its text-to-image pipelines
    included. Other code is unaffected: transformers and the compiler are importable again when this returns.
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
