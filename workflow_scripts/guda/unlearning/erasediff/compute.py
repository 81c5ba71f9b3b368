"""EraseDiff (Wu et al. 2024, arXiv 2401.05779): training on retained images while the group is erased.

A group is erased by predicting uniform noise on forget images, L_f = E || u - e_theta(x_t) ||^2 with u ~ U(0, 1). The
objective is min L_r subject to L_f(theta) <= min L_f; the right side does not depend on theta, so the constraint's
gradient is that of L_f.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import batch_rows, optimize
from guda.training.state import Execution
from guda.unlearning.erasediff.plan import EraseDiff, EraseDiffSpec
from guda.unlearning.finetune.compute import denoising_error, noised
from guda.unlearning.operator import Job


def constraint_weights(inner: Tensor, erasure_rate: float) -> Tensor:
    """Weights [2] of the retain and the forget loss, from the inner products [2, 2] of their gradients r and f.

    (1, lambda) with lambda = max(eta - <r, f> / <f, f>, 0): of all directions d with <d, f> >= eta <f, f>, which lower
    the forget loss at eta times the rate of its steepest descent or faster, r + lambda f is the nearest to r.
    """
    weight = (erasure_rate - inner[0, 1] / inner[1, 1]).clamp_min(0)
    return torch.stack([torch.ones_like(weight), torch.where(inner[1, 1] == 0, 0, weight)])


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    settings: EraseDiff,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the forget images erased, and the evaluations spent.

    `images` uint8 [N, C, H, W]; `forget` bool [N].
    """
    student = copy.deepcopy(full)
    members = {"retain": torch.nonzero(~forget).flatten(), "forget": torch.nonzero(forget).flatten()}

    def draw(step: int) -> list[Tensor]:
        """Retained and forget images, noise and steps of both, and the uniform noise of the forget images."""
        drawn: list[Tensor] = []
        for name, rows in members.items():
            chosen = rows[batch_rows(step, len(rows), settings.batch_size, name, settings.seed)]
            drawn += noised(images[chosen], full.schedule, settings.window)
        return [*drawn, torch.rand_like(drawn[-2])]

    def loss(*drawn: Tensor) -> tuple[Tensor, Tensor]:
        x, noise, t, uniform = drawn[3:]
        erased = (student.predict_noise(full.add_noise(x, noise, t), t) - uniform).square().mean()
        return denoising_error(student, *drawn[:3]), erased

    weigh = partial(constraint_weights, erasure_rate=settings.erasure_rate)
    optimize(student, draw, loss, settings, settings.seed, execution, weigh=weigh)
    return student, settings.steps * settings.batch_size * 2 * FORWARD_AND_BACKWARD


def run(job: Job[EraseDiffSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    return unlearn(job.full, job.training_set.images, job.forget, job.spec.settings, job.execution)
