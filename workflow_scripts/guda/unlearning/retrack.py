"""ReTrack: unlearning by redirecting the denoising trajectories of forget images to retained neighbours."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda import config
from guda.denoisers import UNetDenoiser
from guda.training import batch_rows, optimise, random_steps, to_network_range
from guda.training_state import TrainingState
from guda.unlearning import retrack_evaluations


def neighbor_weights(x_t: Tensor, neighbors: Tensor, gamma: Tensor, sigma: Tensor) -> Tensor:
    """Posterior weight of each neighbour as the origin of x_t, [B, K]; each row sums to one.

    w_r = softmax_r(-||x_t - gamma a_r||^2 / (2 sigma^2)), computed as a softmax: exponentials taken one by one all
    underflow for images of a few thousand pixels. x_t [B, C, H, W], neighbors [B, K, C, H, W], gamma and sigma
    [B, 1, 1, 1].
    """
    # In float64: at the first steps the exponents are in the millions, and only their differences count.
    offsets = x_t[:, None].double() - gamma[:, None].double() * neighbors.double()
    exponents = -offsets.flatten(2).square().sum(2) / (2 * sigma.flatten(1).double().square())
    return torch.softmax(exponents, dim=1).to(x_t.dtype)


def redirected_noise(
    x_t: Tensor,
    noise: Tensor,
    neighbors: Tensor,
    gamma: Tensor,
    sigma: Tensor,
    max_correction_norm: float | None = None,
) -> Tensor:
    """ReTrack's target, [B, C, H, W]: sum_r w_r (x_t - gamma a_r) / sigma, the noise seen from the neighbours.

    `noise` is the true noise of x_t; `max_correction_norm` clips the difference of the target from it, image by image.
    """
    weights = neighbor_weights(x_t, neighbors, gamma, sigma)
    origin = (weights[:, :, None, None, None] * neighbors).sum(1)
    target = (x_t - gamma * origin) / sigma
    if max_correction_norm is None:
        return target
    correction = target - noise
    norms = correction.flatten(1).norm(dim=1)[:, None, None, None]
    return noise + correction * (max_correction_norm / norms.clamp_min(1e-12)).clamp_max(1)


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    neighbors: Tensor,
    settings: config.Unlearning,
    state: TrainingState | None = None,
) -> tuple[UNetDenoiser, int]:
    """A copy of the full model that has unlearned the forget images, and the evaluations spent.

    Minimises forget_weight ||e_theta(x_t) - target||^2 over forget images plus the preserve term over retained ones,
    both as means over pixels. `images` uint8 [N, C, H, W]; `forget` bool [N]; `neighbors` int64 [F, K], rows of
    `images` in the order of the forget images.
    """
    student = copy.deepcopy(full)
    forget_rows, retained_rows = torch.nonzero(forget).flatten(), torch.nonzero(~forget).flatten()
    batch_size = settings.batch_size

    def draw(step: int) -> list[Tensor]:
        """Forget and retained images, the steps of both, the noise of both, and the forget images' neighbours."""
        forgotten = batch_rows(step, len(forget_rows), batch_size, "forget", settings.seed)
        retained = batch_rows(step, len(retained_rows), batch_size, "retain", settings.seed)
        x = to_network_range(images[torch.cat([forget_rows[forgotten], retained_rows[retained]])])
        t = [random_steps(batch_size, full.schedule), random_steps(batch_size, full.schedule)]
        noise = torch.randn_like(x)
        return [*x.split(batch_size), *t, *noise.split(batch_size), images[neighbors[forgotten]]]

    def loss(
        x_forget: Tensor,
        x_retain: Tensor,
        t_forget: Tensor,
        t_retain: Tensor,
        noise_forget: Tensor,
        noise_retain: Tensor,
        near: Tensor,
    ) -> Tensor:
        n, t, noise = len(x_forget), torch.cat([t_forget, t_retain]), torch.cat([noise_forget, noise_retain])
        x_t = full.add_noise(torch.cat([x_forget, x_retain]), noise, t)
        forget_target = redirected_noise(
            x_t[:n], noise_forget, to_network_range(near), *full.scales(t_forget), settings.max_correction_norm
        )
        retain_target = noise_retain
        if settings.preserve == "distillation":
            with torch.no_grad():
                retain_target = full.predict_noise(x_t[n:], t_retain)
        error = (student.predict_noise(x_t, t) - torch.cat([forget_target, retain_target])).square()
        return settings.forget_weight * error[:n].mean() + error[n:].mean()

    optimise(student, draw, loss, settings, settings.seed, "unlearning", state=state)
    return student, settings.steps * retrack_evaluations(settings)
