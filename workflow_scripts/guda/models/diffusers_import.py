"""diffusers' networks, imported without what they do not use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import ModelMixin


def network_class(name: str) -> type[ModelMixin]:
    """A network's class by its name in diffusers, imported without scipy.stats, transformers, peft and accelerate.

    diffusers imports these for schedulers, pipelines and adapters that are not used here; they are a third of a short
    job's time.
    """
    import diffusers
    import diffusers.utils.import_utils

    for package in ("scipy", "transformers", "peft", "accelerate"):
        setattr(diffusers.utils.import_utils, f"_{package}_available", False)
    absent = "transformers" not in sys.modules
    if absent:
        sys.modules["transformers"] = None  # one import of diffusers' goes by neither flag, but can do without
    try:
        return getattr(diffusers, name)
    finally:
        if absent:
            del sys.modules["transformers"]
