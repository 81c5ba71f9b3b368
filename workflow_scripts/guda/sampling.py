"""Images generated from a model, each from its own seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.denoisers import UNetDenoiser
from guda.noise import gaussian
from guda.progress import track

BATCH_SIZE = 64


@torch.no_grad()
def generate(denoiser: UNetDenoiser, schedule: config.NoiseSchedule, ids: list[str], seed: int, steps: int) -> Tensor:
    """Deterministic DDIM samples (Song et al. 2021, eta 0), uint8 [len(ids), C, H, W].

    An image depends on (seed, its id) alone: batches are always full (padded with what is thrown away), because
    convolution kernels round differently for different batch sizes.
    """
    from diffusers import DDIMScheduler

    sampler = DDIMScheduler(
        num_train_timesteps=schedule.num_train_timesteps,
        beta_schedule=schedule.beta_schedule,
        timestep_spacing="trailing",
    )
    sampler.set_timesteps(steps)
    finished, starts = [], range(0, len(ids), BATCH_SIZE)
    for start in track(starts, "batches of queries", len(starts)):
        batch = ids[start : start + BATCH_SIZE]
        x = torch.zeros(BATCH_SIZE, *denoiser.image_shape)
        x[: len(batch)] = torch.from_numpy(
            np.stack([gaussian(seed, name, schedule.num_train_timesteps, denoiser.image_shape) for name in batch])
        )
        for t in sampler.timesteps:
            noise = denoiser.predict_noise(x, t.expand(BATCH_SIZE))
            x = sampler.step(noise, t, x, eta=0.0).prev_sample
        finished.append(((x[: len(batch)].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(finished)
