"""diffusers' networks, imported without what they do not use, by programs that may live for seconds only."""

from __future__ import annotations

import sys


def import_networks_alone() -> None:
    """Import the ground of diffusers' networks without scipy.stats, transformers, peft and accelerate.

    diffusers imports these for schedulers, pipelines and adapters that no stage uses; they take longer than all else
    that a short job imports. In this process diffusers goes on without them, its text-to-image pipelines included.
    """
    import diffusers.utils.import_utils

    for package in ("scipy", "transformers", "peft", "accelerate"):
        setattr(diffusers.utils.import_utils, f"_{package}_available", False)
    if "transformers" in sys.modules:
        return
    sys.modules["transformers"] = None  # type: ignore[assignment]  # one import of diffusers' goes by no flag
    try:
        import diffusers.models.modeling_utils
    finally:
        del sys.modules["transformers"]
