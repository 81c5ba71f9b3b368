"""When a base model's images or an unlearned model are too poor for attribution, and remarks for it. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping

from guda.models.forgetting import BARELY
from guda.models.health import MUCH_WORSE
from guda.models.learning import FALLING

# Precision relative to its floor. Digits: 0 after 20 training steps (noise), .45 after 300 (no digits yet), .72 and .86
# after 1500 and 1600; emoji .77. The AUROC separates these less well: .97 for digits after 300 steps, .94 for emoji.
FEW = 0.6


def poor(row: Mapping[str, float]) -> bool:
    """Whether so few generated images lie among training images that attributing them says little.

    With few images the share is uncertain, so it must be lower by a standard error. False if it is unknown (NaN).
    """
    share = row["precision"]
    error = math.sqrt(share * (1 - share) / row["n_generated"])
    return share + error < FEW * row["precision_floor"]


def base_remark(row: Mapping[str, float]) -> str:
    """A remark for the user on a base model, from its row of quality.csv; '' if it is good enough."""
    if not poor(row):
        return ""
    remark = (
        f"only {row['precision']:.0%} of the generated images lie among training images, where "
        f"{row['precision_floor']:.0%} of other training images do, so their attribution is dominated by noise"
    )
    if row["falls"] >= FALLING:
        return (
            f"{remark}; the loss was still falling, by {row['falls']:.0%} in the second half of training: raise "
            "training.steps"
        )
    return f"{remark}; look at figures/samples.png, and train a larger network or for longer"


def unlearned_remark(row: Mapping[str, float]) -> str:
    """The same for a model that has unlearned a group."""
    if row["health_ratio"] >= MUCH_WORSE:
        return f"unlearned too much: {row['health_ratio']:.3g} times the base model's loss on images that it retains"
    if row["forgetting"] < BARELY:
        return (
            f"unlearned too little: its group's images lose hardly more than retained ones do ({row['forgetting']:.2g} "
            "standard deviations)"
        )
    return ""


def known(value: float | None) -> float:
    """A figure, or NaN if there is none."""
    return math.nan if value is None else value
