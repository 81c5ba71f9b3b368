"""Learning curves of base models: how low the loss got, and whether it was still falling. Torch-free.

The record of a base model has `learning_curve` (see `guda.training.curve`). Losses in `checked` are those of the
averaged weights, on the same images, diffusion steps and noise each time so that small differences count, relative to
the loss of predicting nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Fraction by which the loss fell in the second half of training, that is, when the steps doubled. Digits: .15 at 20
# steps, .11 at 300, .05 at 1600; only the last generates images that pass for digits.
FALLING = 0.08
RISEN = 1.05  # times the lowest loss on images kept aside


def fall(steps: Sequence[int], loss: Sequence[float]) -> float:
    """Fraction by which the loss fell in the second half of training; each `loss` was measured after `steps` steps."""
    half = next(value for step, value in zip(steps, loss, strict=True) if 2 * step >= steps[-1])
    return 1 - loss[-1] / half


def falls(checked: dict[str, Any]) -> float:
    """The same for a curve's `checked` losses, on images kept aside if there are any, else on training images."""
    return fall(checked["steps"], checked.get("held_out", checked["training"]))


def describe(checked: dict[str, Any]) -> str:
    """One sentence for the user on a finished training."""
    aside = checked.get("held_out", [])
    said = f"the loss is {checked['training'][-1]:.3g} times that of predicting nothing"
    said += f", {aside[-1]:.3g} on images kept aside" if aside else ""
    share = falls(checked)
    if aside and aside[-1] > RISEN * min(aside):
        least = checked["steps"][aside.index(min(aside))]
        return (
            f"{said}; there it was lowest after {least} steps and has risen since: training images are being memorized"
        )
    end = "it still falls, so train for more steps" if share >= FALLING else "more steps would change little"
    return f"{said}; in the second half of training it fell by {100 * share:.2g} %: {end}"
