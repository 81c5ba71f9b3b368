"""Per-sample, per-step terms of the evidence lower bound of one model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from guda.denoisers import UNetDenoiser
from guda.device import Batches
from guda.noise import gaussian
from guda.progress import track
from guda.training import to_network_range


@torch.no_grad()
def kl_terms(
    denoiser: UNetDenoiser, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """KL_i of every image at every given diffusion step, float32 [n, len(steps)], in nats summed over pixels.

    KL_i(x, e) = (SNR_{i-1} / SNR_i - 1) / 2 * ||e - e_theta(x_i, i)||^2 for i >= 1, with one noise e per (seed, id,
    step): the same for every model and whatever the batch. ELBO(x) = -sum_i KL_i up to terms that all models share.

    `images` uint8 [n, C, H, W]; `ids` names them; `steps` int64, each >= 1 (step 0 has no finite weight).
    """
    if len(ids) != len(images):
        raise ValueError(f"{len(ids)} ids for {len(images)} images")
    if steps.min() < 1:
        raise ValueError("KL terms exist for steps >= 1; step 0 is the decoder term")
    x = to_network_range(images)
    pairs = [(row, step) for row in range(len(x)) for step in steps.tolist()]

    def squared_errors(batch: Sequence[tuple[int, int]]) -> Tensor:
        rows, t = (torch.tensor(column) for column in zip(*batch, strict=True))
        noise = torch.from_numpy(np.stack([gaussian(seed, ids[row], step, tuple(x.shape[1:])) for row, step in batch]))
        clean, noise, t = (tensor.to(denoiser.device) for tensor in (x[rows], noise, t))
        residual = noise - denoiser.predict_noise(denoiser.add_noise(clean, noise, t), t)
        return residual.double().square().flatten(1).sum(1).cpu()

    errors, batches, starts = [], Batches(batch_size), range(0, len(pairs), batch_size)
    for start in track(starts, "ELBO batches", len(starts)):
        errors += batches.run(squared_errors, pairs[start : start + batch_size])
    weights = torch.from_numpy(denoiser.schedule.kl_weights[steps])
    return (torch.cat(errors).reshape(len(x), len(steps)) * weights).float()
