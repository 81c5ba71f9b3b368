"""ReTrack: unlearning by redirecting the denoising trajectories of forget images to retained neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda.core.artifacts import load_tensors
from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.training.state import Execution
from guda.unlearning.operator import Job
from guda.unlearning.redirection import redirect
from guda.unlearning.retrack.plan import Unlearning, UnlearnSpec, evaluations_per_step

if TYPE_CHECKING:
    from jaxtyping import Float


def neighbor_weights(
    x_t: Float[Tensor, "b c h w"],
    neighbors: Float[Tensor, "b k c h w"],
    gamma: Float[Tensor, "b 1 1 1"],
    sigma: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, "b k"]:
    """Posterior weight of each neighbor as the origin of x_t, [B, K]; each row sums to one.

    w_r = softmax_r(-||x_t - gamma a_r||^2 / (2 sigma^2)), computed as a softmax because the individual exponentials
    all underflow for images of a few thousand pixels. x_t [B, C, H, W], neighbors [B, K, C, H, W], gamma and sigma
    [B, 1, 1, 1].
    """
    # In float64: at the first steps the exponents are in the millions, and only their differences matter.
    offsets = x_t[:, None].double() - gamma[:, None].double() * neighbors.double()
    exponents = -offsets.flatten(2).square().sum(2) / (2 * sigma.flatten(1).double().square())
    return torch.softmax(exponents, dim=1).to(x_t.dtype)


def redirected_noise(
    x_t: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b c h w"],
    neighbors: Float[Tensor, "b k c h w"],
    gamma: Float[Tensor, "b 1 1 1"],
    sigma: Float[Tensor, "b 1 1 1"],
    bandwidth: float = 0.0,
    max_correction_norm: float | None = None,
) -> Float[Tensor, "b c h w"]:
    """ReTrack's target, [B, C, H, W]: sum_r w_r (x_t - gamma a_r) / sigma, the noise relative to the neighbors.

    `noise` is the true noise of x_t. The target's difference from it is damped for a model that smooths the data by a
    Gaussian of standard deviation `bandwidth` (see `damping`) and clipped to `max_correction_norm` per image.
    """
    weights = neighbor_weights(x_t, neighbors, gamma, sigma)
    origin = (weights[:, :, None, None, None] * neighbors).sum(1)
    target = (x_t - gamma * origin) / sigma
    if bandwidth == 0 and max_correction_norm is None:
        return target
    correction = damping(gamma, sigma, bandwidth) * (target - noise)
    if max_correction_norm is not None:
        norms = correction.flatten(1).norm(dim=1)[:, None, None, None]
        correction = correction * (max_correction_norm / norms.clamp_min(1e-12)).clamp_max(1)
    return noise + correction


def damping(
    gamma: Float[Tensor, "b 1 1 1"], sigma: Float[Tensor, "b 1 1 1"], bandwidth: float
) -> Float[Tensor, "b 1 1 1"]:
    """sigma^2 / (sigma^2 + gamma^2 bandwidth^2), [B, 1, 1, 1]: the share of the noise that can be told from the data.

    If an image drawn from a Gaussian of standard deviation `bandwidth` around a is noised to x_t, the expected noise is
    this share of (x_t - gamma a) / sigma: half where sigma / gamma is the bandwidth, and next to none at weaker noise.
    """
    return sigma.square() / (sigma.square() + (gamma * bandwidth).square())


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    neighbors: Tensor,
    settings: Unlearning,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the forget images unlearned, and the evaluations spent; see `redirect`.

    `neighbors` int64 [F, K], rows of `images` in the order of the forget images.
    """

    def near(forgotten: Tensor) -> Tensor:
        return images[neighbors[forgotten]]

    def target(x_t: Tensor, t: Tensor, noise: Tensor, retained: Tensor) -> Tensor:
        gamma, sigma = full.scales(t)
        neighbors = to_network_range(retained)
        return redirected_noise(x_t, noise, neighbors, gamma, sigma, settings.bandwidth, settings.max_correction_norm)

    student = redirect(full, images, forget, target, settings, execution, near)
    return student, settings.steps * evaluations_per_step(settings)


def run(job: Job[UnlearnSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    neighbors, _ = load_tensors(job.files[0], job.spec.neighbors)
    return unlearn(
        job.full,
        job.training_set.images,
        job.forget,
        neighbors["rows"],
        job.spec.settings,
        job.execution,
    )
