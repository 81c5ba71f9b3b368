"""Learning curves: the mean training loss over equal intervals, and the loss on held-out images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from guda.models.learning import describe, falls

POINTS = 64  # intervals of a training run, or one per step if there are fewer steps
CHECKS = 16  # intervals at whose end the loss on given images is measured
NONE = -1.0  # placeholder for losses not measured, since saved values must be finite
Check = Callable[[Any], tuple[float, float | None]]
TENSOR = "curve"  # prefix of a curve's tensors in a saved state


class LearningCurve:
    """The learning curve of one training run.

    `check` returns a network's loss on training images and on held-out images, in this order (None: there are none). It
    must not draw random numbers, so that no weight depends on it. None: nothing is measured.
    """

    def __init__(self, check: Check | None = None):
        self._check = check
        self._ends: list[int] = []
        self._whole = False  # whether the curve is known from the first step

    def begin(self, steps: int, device: torch.device, saved: dict[str, Tensor] | None = None) -> None:
        """Start at step 0 of `steps`, or from the tensors of a saved state; without a curve there, it stays unknown."""
        count = min(POINTS, steps)
        self._ends = [-(-(index + 1) * steps // count) for index in range(count)]
        self._sums = torch.zeros(count, dtype=torch.float64, device=device)
        self._checked = torch.full((count, 2), NONE, dtype=torch.float64)
        self._whole = not saved or f"{TENSOR}.sums" in saved
        if saved and self._whole:
            self._sums.copy_(saved[f"{TENSOR}.sums"])
            self._checked.copy_(saved[f"{TENSOR}.checked"])

    def add(self, step: int, loss: Tensor) -> None:
        """Add the loss of a step, a scalar on the training device, without synchronizing."""
        self._sums[self._stretch(step)] += loss

    def due(self, step: int) -> bool:
        """Whether the network should be checked after this step."""
        index, count = self._stretch(step), len(self._ends)
        every = max(1, count // CHECKS)
        return bool(self._check) and step + 1 == self._ends[index] and ((index + 1) % every == 0 or index + 1 == count)

    def check(self, step: int, network: torch.nn.Module) -> None:
        """Measure the network's state after this step."""
        assert self._check is not None
        training, held_out = self._check(network)
        self._checked[self._stretch(step)] = torch.tensor(
            [training, NONE if held_out is None else held_out], dtype=torch.float64
        )

    def recent(self, step: int) -> float:
        """Mean loss over the current interval up to this step and the interval before it."""
        index = self._stretch(step)
        first = max(0, index - 1)
        start = self._ends[first - 1] if first else 0
        return (self._sums[first : index + 1].sum() / (step + 1 - start)).item()

    def state(self) -> dict[str, Tensor]:
        """The tensors for a saved state, if the curve is known from the first step."""
        return {} if not self._whole else {f"{TENSOR}.sums": self._sums, f"{TENSOR}.checked": self._checked}

    def record(self) -> dict[str, Any]:
        """The curve for the model's record; empty if part of it is unknown.

        `steps` done at the end of each interval, and the mean training `loss` over it; if the network was checked, in
        `checked`: the `steps` of the checks, the loss on `training` images and, if there are any, on `held_out` images,
        and the share by which the loss `falls` at the end.
        """
        if not self._whole:
            return {}
        counts = torch.diff(torch.tensor([0, *self._ends], dtype=torch.float64))
        found: dict[str, Any] = {"steps": self._ends, "loss": _shown(self._sums.cpu() / counts)}
        rows = torch.nonzero(self._checked[:, 0] != NONE).flatten().tolist()
        if rows:
            training, held_out = self._checked[rows].T
            checked: dict[str, Any] = {"steps": [self._ends[row] for row in rows], "training": _shown(training)}
            if (held_out != NONE).all():
                checked["held_out"] = _shown(held_out)
            found["checked"] = checked | {"falls": float(f"{falls(checked):.6g}")}
            print(describe(checked), file=sys.stderr, flush=True)
        return {"learning_curve": found}

    def _stretch(self, step: int) -> int:
        return step * len(self._ends) // self._ends[-1]


def _shown(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
