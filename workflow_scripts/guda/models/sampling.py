"""Images, or latents, generated from a model, each from its own seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.core.artifacts import DIVERGED
from guda.core.device import Batches
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.models.denoisers import TextDenoiser, UNetDenoiser
from guda.models.noise_schedule import scheduler_settings

BATCH_SIZE = 64
Step = Callable[[Tensor, Tensor, Tensor], Any]  # of diffusers' sampler: predicted noise, t, x_t; gives `prev_sample`
Predict = Callable[[Tensor, Tensor, slice], Tensor]  # the noise of some rows of a batch, from their x_t and t


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
    is thrown away), because convolution kernels round differently for different batch sizes. A GPU without the memory
    for a batch takes it in parts, and images then differ by rounding. Raises FloatingPointError when one is not finite.
    """

    def predict(x_t: Tensor, t: Tensor, rows: slice) -> Tensor:
        return denoiser.predict_noise(x_t, t)

    finished, starts, in_parts = [], range(0, len(ids), BATCH_SIZE), Batches(BATCH_SIZE)
    for start in track(starts, "batches of queries", len(starts)):
        batch = ids[start : start + BATCH_SIZE]
        x = _sampled(denoiser, predict, in_parts, schedule, batch, seed, steps, sampler, clip=True)
        check_samples(x[: len(batch)], batch)
        finished.append(((x[: len(batch)].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu())
    return torch.cat(finished)


def check_samples(x: Tensor, ids: list[str]) -> None:
    """Raise FloatingPointError for a sample of x [n, C, H, W] that is not finite: as pixels it would pass for grey."""
    for row in torch.nonzero(~torch.isfinite(x).flatten(1).all(1)).flatten().tolist():
        raise FloatingPointError(f"{ids[row]}: the model's sample is not finite. {DIVERGED}")


def plain(images: Tensor) -> Tensor:
    """Which of the images [n, C, H, W] are of one colour throughout, bool [n]."""
    return (images == images[:, :, :1, :1]).flatten(1).all(1)


def generate_latents(
    denoiser: TextDenoiser,
    schedule: config.NoiseSchedule,
    ids: list[str],
    seed: int,
    steps: int,
    sampler: str,
    condition: Tensor,
    unconditional: Tensor,
    guidance_scale: float,
) -> Tensor:
    """Latents for prompts, float32 [len(ids), C, H, W], as `generate` makes images; nothing is clipped.

    `condition` float [len(ids), L, D] are the prompts' embeddings, `unconditional` [L, D] that of the empty one. The
    noise is `guided_noise`. Raises FloatingPointError when one is not finite.
    """
    if len(condition) != len(ids):
        raise ValueError(f"{len(condition)} prompts for {len(ids)} ids")
    finished, starts, in_parts = [], range(0, len(ids), BATCH_SIZE), Batches(BATCH_SIZE)
    for start in track(starts, "batches of queries", len(starts)):
        batch = ids[start : start + BATCH_SIZE]
        empty = unconditional.expand(BATCH_SIZE, -1, -1).to(denoiser.device)
        told = empty.clone()
        told[: len(batch)] = condition[start : start + BATCH_SIZE].to(denoiser.device)
        predict = partial(_guided, denoiser, told, empty, guidance_scale)
        x = _sampled(denoiser, predict, in_parts, schedule, batch, seed, steps, sampler, clip=False)
        check_samples(x[: len(batch)], batch)
        finished.append(x[: len(batch)].cpu())
    return torch.cat(finished)


def guided_noise(
    denoiser: TextDenoiser, condition: Tensor, unconditional: Tensor, guidance_scale: float, x_t: Tensor, t: Tensor
) -> Tensor:
    """e_u + w (e_c - e_u), [B, C, H, W]: classifier-free guidance (Ho & Salimans 2022), w as in Stable Diffusion.

    w = 1 is the prompt alone, w = 0 none. `condition` and `unconditional` float [B, L, D].
    """
    told = denoiser.predict_noise(x_t, t, condition)
    if guidance_scale == 1:
        return told
    untold = denoiser.predict_noise(x_t, t, unconditional)
    return untold + guidance_scale * (told - untold)


def _guided(
    denoiser: TextDenoiser, told: Tensor, empty: Tensor, guidance_scale: float, x_t: Tensor, t: Tensor, rows: slice
) -> Tensor:
    return guided_noise(denoiser, told[rows], empty[rows], guidance_scale, x_t, t)


@torch.no_grad()
def _sampled(
    denoiser: UNetDenoiser,
    predict: Predict,
    in_parts: Batches,
    schedule: config.NoiseSchedule,
    ids: list[str],
    seed: int,
    steps: int,
    sampler: str,
    clip: bool,
) -> Tensor:
    """One batch of samples, float32 [BATCH_SIZE, C, H, W]; those beyond the ids are padding."""
    noise_at = partial(_noise, seed, ids, denoiser.image_shape, denoiser.device)
    timesteps, step = _new_sampler(sampler, schedule, steps, noise_at, clip)
    x = noise_at(schedule.num_train_timesteps)
    for t in timesteps:
        noise = in_parts.run(partial(_of_rows, predict, x, t.expand(BATCH_SIZE).to(x.device)), range(BATCH_SIZE))
        x = step(torch.cat(noise), t, x).prev_sample
    return x


def _of_rows(predict: Predict, x_t: Tensor, t: Tensor, rows: range) -> Tensor:
    """The predicted noise of consecutive rows of a batch."""
    part = slice(rows.start, rows.stop)
    return predict(x_t[part], t[part], part)


def _noise(seed: int, ids: list[str], shape: tuple[int, ...], device: torch.device, index: int) -> Tensor:
    """Standard normal noise of each image at an index, [BATCH_SIZE, C, H, W]; zero in the padding."""
    noise = torch.zeros(BATCH_SIZE, *shape)
    noise[: len(ids)] = torch.from_numpy(np.stack([gaussian(seed, name, index, shape) for name in ids]))
    return noise.to(device)


def _new_sampler(
    name: str, schedule: config.NoiseSchedule, steps: int, noise_at: Callable[[int], Tensor], clip: bool
) -> tuple[Tensor, Step]:
    """Diffusion steps at which the network is asked, from the last one down, and what takes x_t one of them further.

    Scores draw the noise of an image at the indices 0 .. T-1, and the first x_t is that of T. The ancestral sampler
    draws beyond: no score may see the noise that its image was made with. `clip`: predicted images are clipped to the
    range of images (by all samplers but dpmsolver++).
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    process = scheduler_settings(schedule) | {"prediction_type": "epsilon", "timestep_spacing": "trailing"}
    solver = name == "dpmsolver++"
    scheduler = DPMSolverMultistepScheduler(**process) if solver else DDIMScheduler(**process, clip_sample=clip)
    scheduler.set_timesteps(steps)

    def ancestral_step(noise: Tensor, t: Tensor, x: Tensor) -> Any:
        fresh = noise_at(schedule.num_train_timesteps + 1 + int(t))
        # The mean is the posterior's for the predicted image, with the noise that follows from it when it is clipped.
        return scheduler.step(noise, t, x, eta=1.0, use_clipped_model_output=True, variance_noise=fresh)

    return scheduler.timesteps, ancestral_step if name == "ddpm" else scheduler.step
