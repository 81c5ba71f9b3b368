"""Per-sample, per-step terms of the evidence lower bound of one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser


def kl_terms(
    denoiser: UNetDenoiser,
    images: Tensor,
    ids: list[str],
    steps: np.ndarray,
    seed: int,
    batch_size: int,
    condition: Tensor | None = None,
) -> Tensor:
    """KL_i of every image at every given diffusion step, float32 [n, len(steps)], in nats summed over pixels.

    KL_i(x, e) = (SNR_{i-1} / SNR_i - 1) / 2 * ||e - e_theta(x_i, i)||^2 for i >= 1, with one noise e per (seed, id,
    step): the same for every model and whatever the batch. ELBO(x) = -sum_i KL_i up to terms that all models share.
    With a `condition`, what a conditional network is told of each image, labels int64 [n] or embeddings of prompts
    float [n, L, D], it is that of ELBO(x | condition).

    `images` uint8 [n, C, H, W], or latents in float32; `ids` names them; `steps` int64, each >= 1 (step 0 has no finite
    weight).
    """
    if steps.min() < 1:
        raise ValueError("KL terms exist for steps >= 1; step 0 is the decoder term")

    def squared_errors(clean: Tensor, noise: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        residual = noise - denoiser.predict_noise(denoiser.add_noise(clean, noise, t), t, told)
        return residual.double().square().flatten(1).sum(1)

    task = images, ids, steps, seed, batch_size, denoiser.device, "ELBO batches"
    errors = at_every_step(squared_errors, *task, condition)
    return (errors * torch.from_numpy(denoiser.schedule.kl_weights[steps])).float()


@torch.no_grad()
def at_every_step(
    measure: Callable[..., Tensor],
    images: Tensor,
    ids: list[str],
    steps: np.ndarray,
    seed: int,
    batch_size: int,
    device: torch.device,
    description: str,
    condition: Tensor | None = None,
) -> Tensor:
    """`measure(x, e, t)` of every image at every step, [n, len(steps), ...], in batches of `batch_size` such pairs.

    The noise e depends on (seed, id, step) alone. Arguments are as for `kl_terms`; `measure` gets x and e [B, C, H, W]
    and t int64 [B] on the device, and the images' rows of `condition` where there is one.
    """
    for name, given in [("ids", ids), *([] if condition is None else [("conditions", condition)])]:
        if len(given) != len(images):
            raise ValueError(f"{len(given)} {name} for {len(images)} images")
    x = to_network_range(images)
    pairs = [(row, step) for row in range(len(x)) for step in steps.tolist()]

    def measured(batch: Sequence[tuple[int, int]]) -> Tensor:
        rows, t = (torch.tensor(column) for column in zip(*batch, strict=True))
        noise = torch.from_numpy(np.stack([gaussian(seed, ids[row], step, tuple(x.shape[1:])) for row, step in batch]))
        told = [] if condition is None else [condition[rows]]
        return measure(*(tensor.to(device) for tensor in (x[rows], noise, t, *told))).cpu()

    parts, batches, starts = [], Batches(batch_size), range(0, len(pairs), batch_size)
    for start in track(starts, description, len(starts)):
        parts += batches.run(measured, pairs[start : start + batch_size])
    return torch.cat(parts).unflatten(0, (len(x), len(steps)))
