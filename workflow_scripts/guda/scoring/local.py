"""Where in an image the evidence for a group lies: the ELBO difference, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.models.denoisers import Denoiser
from guda.scoring.elbo import Draws

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Num


def kl_maps(
    denoiser: Denoiser,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    weights: Float[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Float[np.ndarray, "n h w"]:
    """sum_i w_i KL_i of each pixel (or latent cell), float64 [n, H, W], in nats, summed over channels.

    Arguments are as for `kl_terms`. A map sums over pixels to the sum of `kl_terms` over steps with the same `weights`
    float64 [S], since each step's squared error, and hence the ELBO, is a sum over pixels.
    """
    errors = _squared_errors(denoiser, images, ids, steps, seed, batch_size)
    factors = torch.from_numpy(denoiser.schedule.kl_weights[steps] * weights)
    return torch.einsum("nshw,s->nhw", errors, factors).numpy()


def region_terms(
    denoiser: Denoiser,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    weights: Float[np.ndarray, " s"],
    seed: int,
    batch_size: int,
    regions: Bool[np.ndarray, "r h w"],
) -> Float[np.ndarray, "n r s"]:
    """w_i KL_i of each step, summed over the pixels (or latent cells) of each region, float64 [n, R, S], in nats.

    The terms of a region and of the rest of the image sum to the image's. Other arguments are as for `kl_maps`.
    """
    errors = _squared_errors(denoiser, images, ids, steps, seed, batch_size)
    factors = torch.from_numpy(denoiser.schedule.kl_weights[steps] * weights)
    return torch.einsum("nshw,rhw,s->nrs", errors, torch.from_numpy(regions).double(), factors).numpy()


def _squared_errors(
    denoiser: Denoiser, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """||e - e_theta||^2 of each pixel, summed over channels, at each step, float64 [n, S, H, W]."""

    def squared_errors(clean: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        residual = noise - denoiser.of(rows).predict_noise(denoiser.add_noise(clean, noise, t), t)
        return residual.double().square().sum(1)

    return Draws(images, ids, steps, seed).measured(squared_errors, batch_size, denoiser.device, "maps of the ELBO")


def smoothed(maps: Float[np.ndarray, "*n h w"], sigma: float) -> Float[np.ndarray, "*n h w"]:
    """Maps smoothed by a Gaussian of `sigma` pixels (0: unchanged), with zero padding."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(maps, (0,) * (maps.ndim - 2) + (sigma, sigma), mode="constant")


def beyond_noise(maps: Float[np.ndarray, "r h w"]) -> Float[np.ndarray, "h w"]:
    """p-values [H, W] of the mean of R maps with independent noise, adjusted for testing all pixels.

    If two models explain a pixel equally well, their differences there have either sign with equal probability. So the
    signs of whole maps are flipped in all 2^(R-1) distinct ways, and a pixel's p is the share of them in which the
    maximum statistic over pixels reaches its own (Nichols and Holmes 2002). The statistic is |mean| / (se + median se
    over pixels); the median keeps noise-free pixels from standing out. The smallest p is 2^(1-R).
    """
    n_maps = len(maps)
    signs = 1 - 2 * ((np.arange(2 ** (n_maps - 1))[:, None] >> np.arange(n_maps)) & 1)
    flat = maps.reshape(n_maps, -1)
    means = signs @ flat / n_maps  # the first row is for the unflipped maps
    errors = np.sqrt(np.maximum((flat**2).mean(axis=0) - means**2, 0) / (n_maps - 1))
    scale = errors + np.median(errors[0])
    statistics = np.abs(means) / np.where(scale > 0, scale, 1)
    largest = statistics.max(axis=1)
    return (largest[:, None] >= statistics[0] - 1e-12).mean(axis=0).reshape(maps.shape[1:])
