"""Losses of single images at given diffusion steps and noise, and their gradient.

The loss is the mean squared error of the predicted noise over pixels, whatever the prediction type: predicting zero
noise has loss 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.seeding import gaussian
from guda.models.denoisers import Denoiser

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def evenly_spaced(count: int, n_steps: int) -> np.ndarray:
    """`count` of the diffusion steps 0 .. n_steps-1, at the midpoints of equal intervals, int64."""
    return ((np.arange(count) + 0.5) * n_steps / count).astype(np.int64)


def draw_noise(
    ids: list[str], steps: Int[np.ndarray, " s"], shape: tuple[int, ...], seed: int
) -> Float[Tensor, "n s c h w"]:
    """Noise of every image at every step, float32 [n, S, C, H, W], determined by (seed, id, step)."""
    drawn = np.empty((len(ids), len(steps), *shape), dtype=np.float32)
    for row, image_id in enumerate(ids):
        for column, step in enumerate(steps.tolist()):
            drawn[row, column] = gaussian(seed, image_id, step, shape)
    return torch.from_numpy(drawn)


def squared_errors(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], t: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Mean over pixels of (e - e_theta(x_t, t))^2, float32 [B], for images x [B, C, H, W] in network range."""
    x, noise, t = (tensor.to(denoiser.device) for tensor in (x, noise, t))
    return (noise - denoiser.predict_noise(denoiser.add_noise(x, noise, t), t)).square().flatten(1).mean(1)


@torch.no_grad()
def losses(
    denoiser: Denoiser,
    x: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n s c h w"],
    steps: Int[np.ndarray, " s"],
    batches: Batches,
) -> Float[Tensor, "n s"]:
    """Loss of every image at every step, float64 [n, S]: images x [n, C, H, W], their noise [n, S, C, H, W]."""
    n_steps, t = len(steps), torch.from_numpy(steps)

    def of_pairs(pairs: Sequence[int]) -> Tensor:
        rows = torch.tensor(pairs) // n_steps
        columns = torch.tensor(pairs) % n_steps
        return squared_errors(denoiser.of(rows), x[rows], noise[rows, columns], t[columns]).double().cpu()

    return torch.cat(batches.run(of_pairs, range(len(x) * n_steps))).reshape(len(x), n_steps)


def loss_gradient(
    denoiser: Denoiser,
    x: Float[Tensor, "c h w"],
    noise: Float[Tensor, "s c h w"],
    steps: Int[np.ndarray, " s"],
    parameters: Sequence[Tensor],
    batches: Batches,
) -> list[Tensor]:
    """Gradient of one image's mean loss over steps with respect to `parameters`: x [C, H, W], noise [S, C, H, W]."""
    t = torch.from_numpy(steps)

    def of_steps(chosen: Sequence[int]) -> tuple[Tensor, ...]:
        columns = torch.tensor(chosen)
        images = x.expand(len(columns), *x.shape)
        alike = denoiser.of([0] * len(columns))
        loss = squared_errors(alike, images, noise[columns], t[columns]).sum() / len(steps)
        return torch.autograd.grad(loss, parameters)

    parts = batches.run(of_steps, range(len(steps)))
    return [sum(gradients) for gradients in zip(*parts, strict=True)]
