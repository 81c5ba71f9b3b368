"""When a base model's images, or an unlearned model, are not fit to answer with, and the words for it. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping

from guda.models.forgetting import BARELY
from guda.models.health import MUCH_WORSE
from guda.models.learning import FALLING

# Share of the floor's precision. Digits: 0 after 20 steps of training (noise), .45 after 300 (no digits yet), .72 and
# .86 after 1500 and 1600; emoji .77. The AUROC tells these less well: .97 of digits after 300 steps, .94 of emoji.
FEW = 0.6


def poor(row: Mapping[str, float]) -> bool:
    """Whether generated images lie so seldom among training images that attributing them says little.

    Of few images the share is uncertain, so it has to be lower by a standard error. Not where it is unknown, NaN.
    """
    share = row["precision"]
    error = math.sqrt(share * (1 - share) / row["n_generated"])
    return share + error < FEW * row["precision_floor"]


def base_remark(row: Mapping[str, float]) -> str:
    """What the user should know of a base model by its row of quality.csv; '': it is fit."""
    if not poor(row):
        return ""
    remark = (
        f"only {row['precision']:.0%} of the generated images lie among training images, where "
        f"{row['precision_floor']:.0%} of other training images do, so what they owe to groups is an answer of noise"
    )
    if row["falls"] >= FALLING:
        return (
            f"{remark}; the loss still fell by {row['falls']:.0%} in the second half of training: raise training.steps"
        )
    return f"{remark}; look at figures/samples.png, and train a larger network, or for longer"


def unlearned_remark(row: Mapping[str, float]) -> str:
    """The same of a model that has unlearned a group."""
    if row["health_ratio"] >= MUCH_WORSE:
        return f"took too much: {row['health_ratio']:.3g} times the base model's loss on images that it retains"
    if row["forgetting"] < BARELY:
        return (
            f"did not take: its group's own images lose hardly more than retained ones do ({row['forgetting']:.2g} "
            "standard deviations)"
        )
    return ""


def known(value: float | None) -> float:
    """A figure, or NaN where there is none."""
    return math.nan if value is None else value
