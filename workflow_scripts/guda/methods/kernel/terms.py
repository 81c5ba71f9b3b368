"""ELBO terms of the base model with its prediction shifted by a kernel estimate of each group's absence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from guda.data.training_set import TrainingSet
from guda.methods.kernel.means import blocks, kernel_logits, shifts, vectors
from guda.methods.kernel.plan import WEIGHTS
from guda.methods.kernel.width import fit_width
from guda.models.denoisers import Denoiser
from guda.scoring.elbo import Draws

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Kernel(Protocol):
    """Log weights of training images by their proximity to a noisy query."""

    def logits(self, x_t: Tensor, gamma: Tensor, sigma: Tensor, rows: Sequence[int]) -> Tensor:
        """Logits [B, N] for x_t [B, C, H, W] at scales gamma and sigma [B] of the queries in `rows`."""
        ...


@dataclass(frozen=True)
class PixelKernel:
    """-||x_t - gamma a||^2 / (2 (sigma^2 + gamma^2 variance)): a Gaussian with that variance around each image."""

    images: Tensor
    variance: float

    def logits(self, x_t: Tensor, gamma: Tensor, sigma: Tensor, rows: Sequence[int]) -> Tensor:
        return kernel_logits(vectors(x_t, x_t.device), self.images, gamma, sigma**2 + gamma**2 * self.variance)


@dataclass(frozen=True)
class FeatureKernel:
    """cos(f_x, f_a) / temperature for unit-length features [n, d] and [N, d], independent of the noise."""

    queries: Tensor
    training: Tensor
    temperature: float

    def logits(self, x_t: Tensor, gamma: Tensor, sigma: Tensor, rows: Sequence[int]) -> Tensor:
        points, one = vectors(self.queries[rows], x_t.device), torch.ones_like(gamma)
        return kernel_logits(points, self.training, one, one * self.temperature)


def fitted_kernels(
    training_set: TrainingSet,
    members: Sequence[Tensor],
    pixels: bool,
    features: Sequence[Tensor],
    device: torch.device,
) -> tuple[list[Kernel], dict[str, float]]:
    """The pixel kernel, if requested, and the feature kernel (training images and queries), if there are features.

    Also the width of each, as `variance` or `temperature`.
    """
    images, ids = training_set.images, training_set.ids
    kernels: list[Kernel] = []
    widths = {}
    if pixels:
        widths["variance"] = fit_width(images, images, ids, members, device)
        kernels.append(PixelKernel(images, widths["variance"]))
    if features:
        training, queries = (torch.nn.functional.normalize(each) for each in features)
        widths["temperature"] = fit_width(training, images, ids, members, device)
        kernels.append(FeatureKernel(queries, training, widths["temperature"]))
    return kernels, widths


def kernel_terms(
    denoiser: Denoiser,
    queries: TrainingSet,
    training_set: TrainingSet,
    kernels: Sequence[Kernel],
    members: Sequence[Tensor],
    steps: Int[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Float[Tensor, "n g s"]:
    """KL_i(e_-k) - KL_i(e) of every query, group and step, float64 [n, G, S], averaged over the kernels.

        e_-k(x_t) = e(x_t) + (gamma / sigma) (m_D(x_t) - m_{D minus D_k}(x_t))

    with e the denoiser's prediction, m_S the kernel-weighted mean of the training images of S, and KL_i and its noise
    as in `elbo.kl_terms`. `members` are the rows of each group's images. The denoiser is already conditioned on each
    query's condition, if there is one.
    """
    scales = [torch.from_numpy(values).to(denoiser.device) for values in _scales(denoiser)]

    def differences(clean: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        x_t = denoiser.add_noise(clean, noise, t)
        residual = (noise - denoiser.of(rows).predict_noise(x_t, t)).double().flatten(1)
        gamma, sigma, weight = (values[t] for values in scales)
        found = residual.new_zeros(len(rows), len(members))
        for part in blocks(len(rows), WEIGHTS // len(training_set.ids)):
            for kernel in kernels:
                logits = kernel.logits(x_t[part], gamma[part], sigma[part], rows[part])
                for group, shift in enumerate(shifts(logits, training_set.images, members)):
                    moved = (gamma / sigma)[part, None] * shift
                    found[part, group] += (moved * (moved - 2 * residual[part])).sum(1)
        return weight[:, None] * found / len(kernels)

    draws = Draws(queries.images, queries.ids, steps, seed)
    return draws.measured(differences, batch_size, denoiser.device, "kernel batches").transpose(1, 2)


def _scales(denoiser: Denoiser) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return denoiser.schedule.gammas, denoiser.schedule.sigmas, denoiser.schedule.kl_weights
