"""Per-sample, per-step terms of the evidence lower bound under one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.core.device import Batches, ahead
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.data.pixels import to_network_range
from guda.models.denoisers import BoundDenoiser, Denoiser

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num

AT_ONCE = 8  # batches whose values are copied from the device together, since copying synchronizes
# (images x, noise e [B, C, H, W], steps t int64 [B], the images' rows) -> one or more numbers per pair.
Measure = Callable[[Tensor, Tensor, Tensor, list[int]], Tensor]


def kl_terms(
    denoiser: Denoiser,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Float[Tensor, "n s"]:
    """KL_i of every image at every given diffusion step, float32 [n, len(steps)], in nats summed over pixels.

    KL_i(x, e) = (SNR_{i-1} / SNR_i - 1) / 2 * ||e - e_theta(x_i, i)||^2 for i >= 1, with one noise e per (seed, id,
    step) that is the same for all models and batch sizes. ELBO(x) = -sum_i KL_i up to terms that all models share. If
    the denoiser is conditioned on one condition per image, these are the terms of ELBO(x | condition).

    `images` uint8 [n, C, H, W], or latents in float32; `ids` names them; `steps` int64, each >= 1 (the weight of step 0
    is infinite).
    """
    return torch.cat([*kl_parts(denoiser, images, ids, steps, seed, batch_size)])


def kl_parts(
    denoiser: Denoiser,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Iterator[Tensor]:
    """`kl_terms` as a stream: float32 [m, len(steps)] of consecutive images, in order."""
    if steps.min() < 1:
        raise ValueError("KL terms exist for steps >= 1; step 0 is the decoder term")
    if isinstance(denoiser, BoundDenoiser) and len(denoiser.condition) != len(images):
        raise ValueError(f"{len(denoiser.condition)} conditions for {len(images)} images")

    def squared_errors(clean: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        residual = noise - denoiser.of(rows).predict_noise(denoiser.add_noise(clean, noise, t), t)
        return residual.double().square().flatten(1).sum(1)

    weights = torch.from_numpy(denoiser.schedule.kl_weights[steps])
    for errors in Draws(images, ids, steps, seed).parts(squared_errors, batch_size, denoiser.device, "ELBO batches"):
        yield (errors * weights).float()


@dataclass(frozen=True)
class Draws:
    """Noisy images, each with the noise of (seed, id, step). Arguments are as for `kl_terms`."""

    images: Tensor
    ids: list[str]
    steps: np.ndarray
    seed: int

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.images):
            raise ValueError(f"{len(self.ids)} ids for {len(self.images)} images")

    def measured(self, measure: Measure, batch_size: int, device: torch.device, description: str) -> Tensor:
        """`measure` of every image at every step, [n, len(steps), ...], in batches of `batch_size` (image, step) pairs.

        Computed on the device; `description` labels the progress bar.
        """
        return torch.cat([*self.parts(measure, batch_size, device, description)])

    @torch.no_grad()
    def parts(self, measure: Measure, batch_size: int, device: torch.device, description: str) -> Iterator[Tensor]:
        """`measured` as a stream: [m, len(steps), ...] of consecutive images, in order."""
        x = to_network_range(self.images)
        shape, n_steps = tuple(x.shape[1:]), len(self.steps)
        pairs = [(row, step) for row in range(len(x)) for step in self.steps.tolist()]
        starts = range(0, len(pairs), batch_size)

        def drawn(start: int) -> tuple[list[int], Tensor, Tensor, Tensor]:
            batch = pairs[start : start + batch_size]
            rows, t = [row for row, _ in batch], torch.tensor([step for _, step in batch])
            noise = np.stack([gaussian(self.seed, self.ids[row], step, shape) for row, step in batch])
            return rows, x[rows], torch.from_numpy(noise), t

        def measured(batch: tuple[list[int], Tensor, Tensor, Tensor], part: Sequence[int]) -> Tensor:
            chosen = slice(part[0], part[-1] + 1)
            clean, noise, t = (values[chosen].to(device, non_blocking=True) for values in batch[1:])
            return measure(clean, noise, t, batch[0][chosen])

        batches, values = Batches(batch_size), []
        prepared = track(ahead(drawn, starts, device), description, len(starts))
        for number, batch in enumerate(prepared, start=1):
            values += batches.run(partial(measured, batch), range(len(batch[0])))
            if number % AT_ONCE and number < len(starts):
                continue
            done = torch.cat(values).cpu()
            whole = len(done) // n_steps * n_steps
            values = [done[whole:].to(device)]
            if whole:
                yield done[:whole].unflatten(0, (-1, n_steps))
