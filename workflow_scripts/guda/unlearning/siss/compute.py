"""SISS, subtracted importance sampled scores (Alberti et al. 2025, arXiv 2503.01034).

The training loss on D without D_k is n / (n - k) times the loss on D minus k / (n - k) times the loss on D_k, where n
and k are the numbers of images. Both are estimated at the same noisy images, which come from an image x of D with
probability 1 - lambda and from an image a of D_k otherwise.
"""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import batch_rows, optimize, random_steps
from guda.training.state import Execution
from guda.unlearning.operator import Job
from guda.unlearning.siss.plan import Siss, SissSpec, evaluations_per_step

if TYPE_CHECKING:
    from jaxtyping import Float


def importance_weights(
    noise_x: Float[Tensor, "b c h w"], noise_a: Float[Tensor, "b c h w"], mixture: float
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """q(m | x) and q(m | a) over the density of a noisy image m, (1 - lambda) q(m | x) + lambda q(m | a); each [B].

    `noise_x` = (m - gamma x) / sigma and `noise_a` = (m - gamma a) / sigma are the noise in m relative to each image;
    lambda is `mixture`. (1 - lambda) w_x + lambda w_a = 1: lambda w_a is the probability that m comes from a.
    """
    # In float64: at the first steps the exponents are in the millions, and only their difference matters.
    squares_x, squares_a = (noise.double().square().flatten(1).sum(1) for noise in (noise_x, noise_a))
    log_odds = (squares_x - squares_a) / 2 + math.log(mixture / (1 - mixture))
    return torch.sigmoid(-log_odds) / (1 - mixture), torch.sigmoid(log_odds) / mixture


def subtracted_terms(
    denoiser: UNetDenoiser,
    x: Float[Tensor, "b c h w"],
    a: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b c h w"],
    t: Tensor,
    from_a: Tensor,
    mixture: float,
) -> tuple[Tensor, Tensor]:
    """Denoising losses on x and on a at the same noisy images, those of a where `from_a`, bool [B]; two scalars.

    For m ~ (1 - lambda) q(m | x) + lambda q(m | a) the first is an unbiased estimate of || e - e_theta(x_t) ||^2, the
    second of || e - e_theta(a_t) ||^2, averaged over pixels. t int64 [B].
    """
    m = denoiser.add_noise(torch.where(from_a[:, None, None, None], a, x), noise, t)
    gamma, sigma = denoiser.scales(t)
    noises = (m - gamma * x) / sigma, (m - gamma * a) / sigma
    predicted = denoiser.predict_noise(m, t)
    weights = importance_weights(*noises, mixture)
    first, second = (
        (weight.to(m.dtype) * (seen - predicted).square().flatten(1).mean(1)).mean()
        for weight, seen in zip(weights, noises, strict=True)
    )
    return first, second


def subtraction_weights(inner: Tensor, forget_norm: float | None) -> Tensor:
    """Weights [2] of the losses on all images and on the group, from the inner products [2, 2] of their gradients.

    The second weight is -1, or scales its gradient to `forget_norm` times the norm of the first one's.
    """
    scale = torch.ones_like(inner[0, 0])
    if forget_norm is not None:
        scale = torch.where(inner[1, 1] > 0, forget_norm * (inner[0, 0] / inner[1, 1]).sqrt(), 0)
    return torch.stack([torch.ones_like(scale), -scale])


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    settings: Siss,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the forget images unlearned, and the evaluations spent.

    `images` uint8 [N, C, H, W]; `forget` bool [N].
    """
    student, forget_rows = copy.deepcopy(full), torch.nonzero(forget).flatten()
    n, kept, size = len(images), len(images) - len(forget_rows), settings.batch_size

    def draw(step: int) -> list[Tensor]:
        """Pairs of any image and a forget image, their noise and steps, and whether the noisy image is the latter's."""
        rows = batch_rows(step, n, size, "all", settings.seed)
        forgotten = forget_rows[batch_rows(step, len(forget_rows), size, "forget", settings.seed)]
        x, a = to_network_range(images[rows]), to_network_range(images[forgotten])
        t = random_steps(size, full.schedule, settings.window)
        return [x, a, torch.randn_like(x), t, torch.rand(size) < settings.mixture]

    def loss(x: Tensor, a: Tensor, noise: Tensor, t: Tensor, from_a: Tensor) -> tuple[Tensor, Tensor]:
        of_all, of_group = subtracted_terms(student, x, a, noise, t, from_a, settings.mixture)
        return n / kept * of_all, (n - kept) / kept * of_group

    weigh = partial(subtraction_weights, forget_norm=settings.forget_norm)
    optimize(student, draw, loss, settings, settings.seed, execution, weigh=weigh)
    return student, settings.steps * evaluations_per_step(settings)


def run(job: Job[SissSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    return unlearn(job.full, job.training_set.images, job.forget, job.spec.settings, job.execution)
