"""Where in an image the evidence for a group lies: the bound's difference, pixel by pixel."""

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
    """sum_i w_i KL_i of each pixel (or latent cell), float64 [n, H, W], in nats, channels added up.

    Arguments are as for `kl_terms`, whose sum over steps with the same `weights` float64 [S] is that of a map over its
    pixels: the squared error of a step is a sum over pixels, and so is the bound.
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
    """w_i KL_i of each step, added up over the pixels (or latent cells) of each region, float64 [n, R, S], in nats.

    Those of a region and of the rest of the image add up to the image's. Other arguments are as for `kl_maps`.
    """
    errors = _squared_errors(denoiser, images, ids, steps, seed, batch_size)
    factors = torch.from_numpy(denoiser.schedule.kl_weights[steps] * weights)
    return torch.einsum("nshw,rhw,s->nrs", errors, torch.from_numpy(regions).double(), factors).numpy()


def _squared_errors(
    denoiser: Denoiser, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """||e - e_theta||^2 of each pixel, channels added up, at each step, float64 [n, S, H, W]."""

    def squared_errors(clean: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        residual = noise - denoiser.of(rows).predict_noise(denoiser.add_noise(clean, noise, t), t)
        return residual.double().square().sum(1)

    return Draws(images, ids, steps, seed).measured(squared_errors, batch_size, denoiser.device, "maps of the bound")


def smoothed(maps: Float[np.ndarray, "*n h w"], sigma: float) -> Float[np.ndarray, "*n h w"]:
    """Maps after a Gaussian of `sigma` pixels; 0: as they are. What lies outside of the image counts as 0."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(maps, (0,) * (maps.ndim - 2) + (sigma, sigma), mode="constant")


def beyond_noise(maps: Float[np.ndarray, "r h w"]) -> Float[np.ndarray, "h w"]:
    """p-values [H, W] of the mean of R maps, each from noise of its own, adjusted for all pixels at once.

    Two models that explain a pixel alike have differences there that are as likely of either sign. So the signs of
    whole maps are flipped in all 2^(R-1) ways that differ, and a pixel's p is the share of them in which the largest
    statistic of any pixel reaches its own (Nichols and Holmes 2002). The statistic is the mean over its standard error,
    to which the median over pixels is added, so that pixels without noise do not stand out. The least p is 2^(1-R).
    """
    n_maps = len(maps)
    signs = 1 - 2 * ((np.arange(2 ** (n_maps - 1))[:, None] >> np.arange(n_maps)) & 1)
    flat = maps.reshape(n_maps, -1)
    means = signs @ flat / n_maps  # the first row is of the maps as they are
    errors = np.sqrt(np.maximum((flat**2).mean(axis=0) - means**2, 0) / (n_maps - 1))
    scale = errors + np.median(errors[0])
    statistics = np.abs(means) / np.where(scale > 0, scale, 1)
    largest = statistics.max(axis=1)
    return (largest[:, None] >= statistics[0] - 1e-12).mean(axis=0).reshape(maps.shape[1:])
