"""log p(x) under one model by the probability-flow ODE: the quantity that the ELBO bounds.

With s = sigma / gamma, the noise-to-signal ratio, and u = log s, the deterministic flow with the diffusion's marginal
densities is (Song et al. 2021, eq. 13, written in u)

    dx/du = sigma (e_theta(x, u) - sigma x)

and along it log p changes by minus the divergence of the right-hand side. The solver is fourth-order Runge-Kutta with
equal steps of u; the divergence is estimated with random signs v as v^T J v (Hutchinson), shared by all models and
steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.progress import track
from guda.core.seeding import gaussian, rademacher
from guda.data.pixels import to_network_range
from guda.models.denoisers import Denoiser
from guda.models.noise_schedule import end_of_signal
from guda.specs import LikelihoodSettings

if TYPE_CHECKING:
    from jaxtyping import Float, Num

STAGES = 4  # stages per step of the solver
# x [B, C, H, W] and the integrated divergence along each probe [B, P]; also their derivatives with respect to u.
State = tuple[Tensor, Tensor]


def log_likelihoods(
    denoiser: Denoiser,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    settings: LikelihoodSettings,
    batch_size: int,
) -> Float[Tensor, "n p"]:
    """log p(x_first) of every image for each probe, in nats, float64 [n, probes]; the estimate is their mean.

    x_first is the image at diffusion step `settings.first`, with one noise per (seed, id); noise and probes are the
    same for all models and batch sizes. The flow ends at `end_of_signal`, where the state is treated as standard
    normal. If the denoiser is conditioned on one condition per image, this is log p(x | condition). `images` uint8
    [n, C, H, W], or latents in float32, for the density of latents; `ids` names them.
    """
    if len(ids) != len(images):
        raise ValueError(f"{len(ids)} ids for {len(images)} images")
    x = to_network_range(images)
    shape, schedule = tuple(x.shape[1:]), denoiser.schedule
    levels = schedule.log_noise_ratios
    grid = np.linspace(levels[settings.first], levels[end_of_signal(schedule)], settings.steps + 1)

    def of_batch(rows: Sequence[int]) -> Tensor:
        names = [ids[row] for row in rows]
        normal = np.stack([gaussian(settings.seed, name, settings.first, shape) for name in names])
        random_signs = np.stack([rademacher(settings.seed, name, settings.probes, shape) for name in names])
        noise, signs = (torch.from_numpy(array).to(denoiser.device) for array in (normal, random_signs))
        steps = torch.full((len(rows),), settings.first, device=denoiser.device)
        start = denoiser.add_noise(x[list(rows)].to(denoiser.device), noise, steps).double()
        slope = flow(denoiser.of(rows), levels, signs.double().transpose(0, 1))
        end, divergence = integrate(slope, start, settings.probes, grid)
        return (log_normal(end)[:, None] + divergence).cpu()

    found, batches, starts = [], Batches(batch_size), range(0, len(x), batch_size)
    for start in track(starts, "likelihood batches", len(starts)):
        found += batches.run(of_batch, range(len(x))[start : start + batch_size])
    return torch.cat(found)


def evaluations(settings: LikelihoodSettings) -> int:
    """Evaluations for one image; the backward pass of each probe counts as two."""
    return settings.steps * STAGES * (1 + 2 * settings.probes)


def log_normal(x: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """log N(x; 0, I) of every sample, [B]."""
    return -(x.square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2


def flow(denoiser: Denoiser, levels: np.ndarray, probes: Tensor) -> Callable[[float, Tensor], State]:
    """The flow's right-hand side and its divergence along each of `probes` [P, B, C, H, W], as a function of u and x.

    Between two diffusion steps, the network's time input is interpolated linearly in u.
    """

    def slope(u: float, x: Tensor) -> State:
        variance = 1 / (1 + math.exp(-2 * u))  # sigma^2
        t = torch.full((len(x),), np.interp(u, levels, np.arange(len(levels))), device=x.device)
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            noise = denoiser.predict_noise(x.float(), t).double()
        along = [divergence_along(noise, x, probe) for probe in probes]
        n_values = x[0].numel()
        velocity = math.sqrt(variance) * noise.detach() - variance * x.detach()
        return velocity, math.sqrt(variance) * torch.stack(along, dim=1) - variance * n_values

    return slope


def divergence_along(
    output: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], probe: Float[Tensor, "b ..."]
) -> Float[Tensor, " b"]:
    """v^T (d output / dx) v of every sample, [B]: its mean over random signs v is the divergence (Hutchinson 1990).

    `output` was computed from `x`; all three are [B, C, H, W].
    """
    (product,) = torch.autograd.grad(output, x, probe, retain_graph=True)
    return (product * probe).flatten(1).sum(1)


def integrate(slope: Callable[[float, Tensor], State], x: Tensor, n_probes: int, grid: np.ndarray) -> State:
    """Integrate x [B, C, H, W] and the divergence over the grid of u by fourth-order Runge-Kutta."""
    total = torch.zeros(len(x), n_probes, dtype=torch.float64, device=x.device)
    for left, right in pairwise(grid.tolist()):
        step = right - left
        first = slope(left, x)
        second = slope(left + step / 2, x + step / 2 * first[0])
        third = slope(left + step / 2, x + step / 2 * second[0])
        fourth = slope(right, x + step * third[0])
        x, total = (
            value + step / 6 * (a + 2 * b + 2 * c + d)
            for value, a, b, c, d in zip((x, total), first, second, third, fourth, strict=True)
        )
    return x, total
