"""Fine-tuning on the retained images: the group is forgotten only because it is no longer seen."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.training.loop import batch_rows, optimize, random_steps
from guda.training.state import Execution
from guda.unlearning.finetune.plan import ContinuedSettings, ContinuedTrainingSpec
from guda.unlearning.operator import Job


def noised(
    images: Tensor, schedule: NoiseSchedule, window: tuple[int, int | None] = (0, None)
) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 images [B, C, H, W] scaled to the network's range, noise, and diffusion steps int64 [B] from a window."""
    x = to_network_range(images)
    return x, torch.randn_like(x), random_steps(len(x), schedule, window)


def denoising_error(denoiser: UNetDenoiser, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Mean of ||e - e_theta(x_t, t)||^2 over images and pixels: ReTrack's preserve term `denoising`."""
    return (denoiser.predict_noise(denoiser.add_noise(x, noise, t), t) - noise).square().mean()


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    settings: ContinuedSettings,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model trained further without the forget images, and the evaluations spent.

    `images` uint8 [N, C, H, W]; `forget` bool [N].
    """
    student, retained_rows = copy.deepcopy(full), torch.nonzero(~forget).flatten()

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = batch_rows(step, len(retained_rows), settings.batch_size, "retain", settings.seed)
        return noised(images[retained_rows[rows]], full.schedule, settings.window)

    def loss(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return denoising_error(student, x, noise, t)

    optimize(student, draw, loss, settings, settings.seed, execution)
    return student, settings.steps * settings.batch_size * FORWARD_AND_BACKWARD


def run(job: Job[ContinuedTrainingSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    return unlearn(job.full, job.training_set.images, job.forget, job.spec.settings, job.execution)
