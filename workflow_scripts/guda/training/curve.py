"""The learning curve of a training: its mean loss over even stretches, and its loss on images that it never sees."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from guda.models.learning import describe, falls

POINTS = 64  # stretches of a training, or one a step where there are fewer steps
CHECKS = 16  # of them, those at whose end a network's loss on given images is measured
NONE = -1.0  # in place of a loss that was not measured: what is saved has to be finite
Check = Callable[[Any], tuple[float, float | None]]
TENSOR = "curve"  # what the parts of a curve are called in a saved state


class LearningCurve:
    """What is gathered of one training.

    `check` gives a network's loss on images of the training set and on images kept out of it, in this order (None:
    there are no such). It may draw nothing at random, so that no weight depends on it. None: nothing is measured.
    """

    def __init__(self, check: Check | None = None):
        self._check = check
        self._ends: list[int] = []
        self._whole = False  # whether it is known from the first step on

    def begin(self, steps: int, device: torch.device, saved: dict[str, Tensor] | None = None) -> None:
        """Start at step 0 of so many, or with the tensors of a saved state. One that has no curve leaves it unknown."""
        count = min(POINTS, steps)
        self._ends = [-(-(index + 1) * steps // count) for index in range(count)]
        self._sums = torch.zeros(count, dtype=torch.float64, device=device)
        self._checked = torch.full((count, 2), NONE, dtype=torch.float64)
        self._whole = not saved or f"{TENSOR}.sums" in saved
        if saved and self._whole:
            self._sums.copy_(saved[f"{TENSOR}.sums"])
            self._checked.copy_(saved[f"{TENSOR}.checked"])

    def add(self, step: int, loss: Tensor) -> None:
        """Count the loss of a step, a scalar on the device of training, which is not waited for."""
        self._sums[self._stretch(step)] += loss

    def due(self, step: int) -> bool:
        """Whether the network is to be checked after this step."""
        index, count = self._stretch(step), len(self._ends)
        every = max(1, count // CHECKS)
        return bool(self._check) and step + 1 == self._ends[index] and ((index + 1) % every == 0 or index + 1 == count)

    def check(self, step: int, network: torch.nn.Module) -> None:
        """Measure the network as it is after this step."""
        assert self._check is not None
        training, held_out = self._check(network)
        self._checked[self._stretch(step)] = torch.tensor(
            [training, NONE if held_out is None else held_out], dtype=torch.float64
        )

    def recent(self, step: int) -> float:
        """Mean loss of the stretch that a step is in, up to this step, and of the one before."""
        index = self._stretch(step)
        first = max(0, index - 1)
        start = self._ends[first - 1] if first else 0
        return (self._sums[first : index + 1].sum() / (step + 1 - start)).item()

    def state(self) -> dict[str, Tensor]:
        """What a saved state keeps of it, if it is known from the first step on."""
        return {} if not self._whole else {f"{TENSOR}.sums": self._sums, f"{TENSOR}.checked": self._checked}

    def record(self) -> dict[str, Any]:
        """The curve for the model's record: nothing where some of it is unknown.

        `steps` done at the end of each stretch, and the mean training `loss` there; of a network that was checked, in
        `checked`, the `steps` when, its loss on `training` images and, where there are any, on `held_out` ones, and the
        share by which it `falls` at the end.
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
