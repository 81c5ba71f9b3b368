"""Images generated from a model, each from its own seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.denoisers import UNetDenoiser
from guda.noise import gaussian
from guda.progress import track

BATCH_SIZE = 64
Step = Callable[[Tensor, Tensor, Tensor], Any]  # of diffusers' sampler: predicted noise, t, x_t; gives `prev_sample`


@torch.no_grad()
def generate(
    denoiser: UNetDenoiser,
    schedule: config.NoiseSchedule,
    ids: list[str],
    seed: int,
    steps: int,
    sampler: str = "ddim",
) -> Tensor:
    """Samples of the model, uint8 [len(ids), C, H, W].

    ddim: deterministic (Song et al. 2021, eta 0); ddpm: ancestral (the same with eta 1); dpmsolver++: deterministic, of
    second order (Lu et al. 2022). An image depends on (seed, its id) alone: batches are always full (padded with what
    is thrown away), because convolution kernels round differently for different batch sizes.
    """
    finished, starts = [], range(0, len(ids), BATCH_SIZE)
    for start in track(starts, "batches of queries", len(starts)):
        batch = ids[start : start + BATCH_SIZE]
        noise_at = partial(_noise, seed, batch, denoiser.image_shape, denoiser.device)
        timesteps, step = _new_sampler(sampler, schedule, steps, noise_at)
        x = noise_at(schedule.num_train_timesteps)
        for t in timesteps:
            x = step(denoiser.predict_noise(x, t.expand(BATCH_SIZE).to(x.device)), t, x).prev_sample
        finished.append(((x[: len(batch)].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu())
    return torch.cat(finished)


def _noise(seed: int, ids: list[str], shape: tuple[int, ...], device: torch.device, index: int) -> Tensor:
    """Standard normal noise of each image at an index, [BATCH_SIZE, C, H, W]; zero in the padding."""
    noise = torch.zeros(BATCH_SIZE, *shape)
    noise[: len(ids)] = torch.from_numpy(np.stack([gaussian(seed, name, index, shape) for name in ids]))
    return noise.to(device)


def _new_sampler(
    name: str, schedule: config.NoiseSchedule, steps: int, noise_at: Callable[[int], Tensor]
) -> tuple[Tensor, Step]:
    """Diffusion steps at which the network is asked, from the last one down, and what takes x_t one of them further.

    Scores draw the noise of an image at the indices 0 .. T-1, and the first x_t is that of T. The ancestral sampler
    draws beyond: no score may see the noise that its image was made with.
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    process = schedule.model_dump() | {"prediction_type": "epsilon", "timestep_spacing": "trailing"}
    scheduler = (DPMSolverMultistepScheduler if name == "dpmsolver++" else DDIMScheduler)(**process)
    scheduler.set_timesteps(steps)

    def ancestral_step(noise: Tensor, t: Tensor, x: Tensor) -> Any:
        fresh = noise_at(schedule.num_train_timesteps + 1 + int(t))
        # The mean is the posterior's for the predicted image, clipped to the range of images.
        return scheduler.step(noise, t, x, eta=1.0, use_clipped_model_output=True, variance_noise=fresh)

    return scheduler.timesteps, ancestral_step if name == "ddpm" else scheduler.step
