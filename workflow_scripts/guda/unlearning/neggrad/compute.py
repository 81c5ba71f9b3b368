"""Gradient ascent on the denoising loss of the forget images: the naive unlearning baseline.

The loss is unbounded. The damage is limited because there are few steps, and each moves a weight by at most about the
learning rate, whatever the gradient.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import batch_rows, optimize
from guda.training.state import Execution
from guda.unlearning.finetune.compute import denoising_error, noised
from guda.unlearning.neggrad.plan import NegGrad, NegGradSpec
from guda.unlearning.operator import Job


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    settings: NegGrad,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the forget images unlearned, and the evaluations spent.

    Minimizes the negative denoising error of forget images plus, unless `preserve_weight` is zero, that weight times
    the denoising error of equally many retained images. `images` uint8 [N, C, H, W]; `forget` bool [N].
    """
    student = copy.deepcopy(full)
    terms = {"forget": (-1.0, torch.nonzero(forget).flatten())}
    if settings.preserve_weight:
        terms["retain"] = (settings.preserve_weight, torch.nonzero(~forget).flatten())

    def draw(step: int) -> list[Tensor]:
        """Images, noise and steps of each term in turn."""
        drawn: list[Tensor] = []
        for name, (_, members) in terms.items():
            rows = batch_rows(step, len(members), settings.batch_size, name, settings.seed)
            drawn += noised(images[members[rows]], full.schedule, settings.window)
        return drawn

    def loss(*drawn: Tensor) -> Tensor:
        errors = [denoising_error(student, *drawn[start : start + 3]) for start in range(0, len(drawn), 3)]
        return torch.stack([weight * error for (weight, _), error in zip(terms.values(), errors, strict=True)]).sum()

    optimize(student, draw, loss, settings, settings.seed, execution)
    return student, settings.steps * settings.batch_size * len(terms) * FORWARD_AND_BACKWARD


def run(job: Job[NegGradSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    return unlearn(job.full, job.training_set.images, job.forget, job.spec.settings, job.execution)
