"""What a base model's learning curve says: how far its loss came, and whether it still fell. Torch-free.

The record of a base model has `learning_curve` (see `guda.training.curve`). Losses in `checked` are of the averaged
weights, on the same images, diffusion steps and noise each time, so that small differences count: as shares of the loss
of predicting nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Share of its loss by which a model became better in the second half of its training, which is a doubling of its steps.
# Digits: .15 at 20 steps, .11 at 300, .05 at 1600; only the last makes images that pass for digits.
FALLING = 0.08
RISEN = 1.05  # times the lowest loss on images kept aside


def fall(steps: Sequence[int], loss: Sequence[float]) -> float:
    """Share by which the loss fell in the second half of a training: `steps` done when each `loss` was measured."""
    half = next(value for step, value in zip(steps, loss, strict=True) if 2 * step >= steps[-1])
    return 1 - loss[-1] / half


def falls(checked: dict[str, Any]) -> float:
    """The same of a curve's `checked` losses: on images kept aside where there are any, else on training images."""
    return fall(checked["steps"], checked.get("held_out", checked["training"]))


def describe(checked: dict[str, Any]) -> str:
    """What the user should know of a training that ended, in one sentence."""
    aside = checked.get("held_out", [])
    said = f"the loss is {checked['training'][-1]:.3g} of that of predicting nothing"
    said += f", {aside[-1]:.3g} on images kept aside" if aside else ""
    share = falls(checked)
    if aside and aside[-1] > RISEN * min(aside):
        least = checked["steps"][aside.index(min(aside))]
        return f"{said}; there it was lowest after {least} steps and rises: training images are learnt by heart"
    end = "it still falls, and more steps make a better model" if share >= FALLING else "more steps would change little"
    return f"{said}; in the second half of the training it fell by {100 * share:.2g} %: {end}"
