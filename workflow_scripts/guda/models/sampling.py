"""Images or latents sampled from a model, each with its own seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.config.scoring import SAMPLED_AT_ONCE as BATCH_SIZE
from guda.core.artifacts import DIVERGED
from guda.core.device import Batches
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.models.denoisers import Denoiser, GuidedDenoiser
from guda.models.noise_schedule import scheduler_settings

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

Step = Callable[[Tensor, Tensor, Tensor], Any]  # of diffusers' sampler: predicted noise, t, x_t; gives `prev_sample`


def generate(
    denoiser: Denoiser, schedule: config.NoiseSchedule, ids: list[str], seed: int, steps: int, sampler: str = "ddim"
) -> UInt8[Tensor, "n c h w"]:
    """Samples of the model, uint8 [len(ids), C, H, W].

    ddim: deterministic (Song et al. 2021, eta 0); ddpm: ancestral (the same with eta 1); dpmsolver++: deterministic,
    second order (Lu et al. 2022). An image depends on (seed, its id) alone: batches are always full (padding is thrown
    away), because convolution kernels round differently for different batch sizes. A GPU with too little memory splits
    batches, and images then differ by rounding. Raises FloatingPointError if an image is not finite.
    """
    solver = _Sampler(sampler, schedule, steps, clip=True)
    batches = _in_batches(denoiser, solver, ids, seed)
    return torch.cat([((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu() for x in batches])


def check_samples(x: Tensor, ids: list[str]) -> None:
    """Raise FloatingPointError for a sample of x [n, C, H, W] that is not finite: its pixels would look gray."""
    for row in torch.nonzero(~torch.isfinite(x).flatten(1).all(1)).flatten().tolist():
        raise FloatingPointError(f"{ids[row]}: the model's sample is not finite. {DIVERGED}")


def plain(images: Tensor) -> Tensor:
    """Which of the images [n, C, H, W] have a single color, bool [n]."""
    return (images == images[:, :, :1, :1]).flatten(1).all(1)


def generate_latents(
    denoiser: GuidedDenoiser, schedule: config.NoiseSchedule, ids: list[str], seed: int, steps: int, sampler: str
) -> Float[Tensor, "n c h w"]:
    """Latents for prompts, float32 [len(ids), C, H, W], sampled like images in `generate`, without clipping.

    The denoiser is bound to a prompt for each id. Raises FloatingPointError if a latent is not finite.
    """
    if len(denoiser.condition) != len(ids):
        raise ValueError(f"{len(denoiser.condition)} prompts for {len(ids)} ids")
    padded = torch.cat([denoiser.condition, denoiser.unconditional[None]]).to(denoiser.device)
    solver = _Sampler(sampler, schedule, steps, clip=False)
    batches = _in_batches(replace(denoiser, condition=padded), solver, ids, seed)
    return torch.cat([x.cpu() for x in batches])


@dataclass(frozen=True)
class _Sampler:
    """A sampler from x_T to x_0: `name`, `schedule` and `steps` as for `generate`; for `clip` see `start`."""

    name: str
    schedule: config.NoiseSchedule
    steps: int
    clip: bool

    def start(self, noise_at: Callable[[int], Tensor]) -> tuple[Tensor, Step]:
        """The diffusion steps at which the network is evaluated, last to first, and the function that takes one.

        Scores draw an image's noise at indices 0 .. T-1, and the initial x_T uses index T. The ancestral sampler draws
        at indices beyond, since no score may see the noise that its image was made with. `clip`: predicted images are
        clipped to the range of images (by all samplers except dpmsolver++).
        """
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

        process = scheduler_settings(self.schedule) | {"prediction_type": "epsilon", "timestep_spacing": "trailing"}
        if self.name == "dpmsolver++":
            scheduler = DPMSolverMultistepScheduler(**process)
        else:
            scheduler = DDIMScheduler(**process, clip_sample=self.clip)
        scheduler.set_timesteps(self.steps)

        def ancestral_step(noise: Tensor, t: Tensor, x: Tensor) -> Any:
            fresh = noise_at(self.schedule.num_train_timesteps + 1 + int(t))
            # The mean is the posterior's for the predicted image, with the noise that matches it after clipping.
            return scheduler.step(noise, t, x, eta=1.0, use_clipped_model_output=True, variance_noise=fresh)

        return scheduler.timesteps, ancestral_step if self.name == "ddpm" else scheduler.step


def _in_batches(denoiser: Denoiser, sampler: _Sampler, ids: list[str], seed: int) -> Iterator[Tensor]:
    """Samples float32 [n, C, H, W], a batch at a time; a bound denoiser has one extra condition, for the padding."""
    starts, in_parts = range(0, len(ids), BATCH_SIZE), Batches(BATCH_SIZE)
    for start in track(starts, "batches of queries", len(starts)):
        batch = ids[start : start + BATCH_SIZE]
        rows = [*range(start, start + len(batch)), *[len(ids)] * (BATCH_SIZE - len(batch))]
        x = _sampled(denoiser.of(rows), sampler, batch, seed, in_parts)[: len(batch)]
        check_samples(x, batch)
        yield x


@torch.no_grad()
def _sampled(denoiser: Denoiser, sampler: _Sampler, ids: list[str], seed: int, in_parts: Batches) -> Tensor:
    """One batch of samples, float32 [BATCH_SIZE, C, H, W]; those beyond the ids are padding."""
    noise_at = partial(_noise, seed, ids, denoiser.image_shape, denoiser.device)
    timesteps, step = sampler.start(noise_at)
    x = noise_at(sampler.schedule.num_train_timesteps)
    for t in timesteps:
        noise = in_parts.run(partial(_of_rows, denoiser, x, t.to(x.device)), range(BATCH_SIZE))
        x = step(torch.cat(noise), t, x).prev_sample
    return x


def _of_rows(denoiser: Denoiser, x_t: Tensor, t: Tensor, rows: range) -> Tensor:
    """The predicted noise of consecutive rows of a batch at one diffusion step."""
    return denoiser.of(rows).predict_noise(x_t[rows.start : rows.stop], t.expand(len(rows)))


def _noise(seed: int, ids: list[str], shape: tuple[int, ...], device: torch.device, index: int) -> Tensor:
    """Standard normal noise of each image at an index, [BATCH_SIZE, C, H, W]; zero in the padding."""
    noise = torch.zeros(BATCH_SIZE, *shape)
    noise[: len(ids)] = torch.from_numpy(np.stack([gaussian(seed, name, index, shape) for name in ids]))
    return noise.to(device)
