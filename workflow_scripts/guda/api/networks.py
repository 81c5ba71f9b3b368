"""Conversion of diffusers networks and schedulers to the library's denoisers and noise schedules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from guda import config
from guda.config.messages import from_arguments
from guda.core.errors import ArgumentError
from guda.models.checkpoints.settings import UNCHANGED_PROCESS
from guda.models.denoisers import UNetDenoiser
from guda.models.noise_schedule import NoiseSchedule

if TYPE_CHECKING:
    from diffusers import DDPMPipeline, SchedulerMixin, UNet2DModel

    Model: TypeAlias = UNet2DModel | DDPMPipeline | UNetDenoiser
    Scheduler: TypeAlias = SchedulerMixin | NoiseSchedule


def as_denoiser(model: Model, scheduler: Scheduler | None, argument: str = "model") -> UNetDenoiser:
    """The model's own network (not a copy) with the noise schedule of `scheduler`, or of the pipeline's scheduler.

    Raises ArgumentError unless the model is an unconditional UNet2DModel with float32 weights and a noise schedule is
    known.
    """
    from diffusers import UNet2DModel

    unet = getattr(model, "unet", model)
    if not isinstance(unet, UNet2DModel):
        raise ArgumentError(
            f"{argument}: expected diffusers' UNet2DModel, or a pipeline of one, found {type(unet).__name__}; "
            "text-to-image models are attributed by the workflow, see docs/text-to-image.md"
        )
    if unet.config.num_class_embeds is not None or unet.config.class_embed_type is not None:
        raise ArgumentError(f"{argument}: its network is class-conditional; give an unconditional one")
    if unet.dtype != torch.float32:
        raise ArgumentError(
            f"{argument}: its weights are {unet.dtype}, but score differences need float32; call .float() first"
        )
    own = getattr(model, "schedule", None) or getattr(model, "scheduler", None)
    process = scheduler or own
    if process is None:
        raise ArgumentError("scheduler: must be given for a bare network; give the one that it was trained with")
    schedule = as_schedule(process)
    if own is not None and not _alike(as_schedule(own), schedule):
        raise ArgumentError(
            f"{argument}: its own scheduler has another noise schedule than the one it would be used with"
        )
    return UNetDenoiser(unet, schedule).to(unet.device)


def as_schedule(scheduler: Scheduler) -> NoiseSchedule:
    """The noise schedule that a diffusers scheduler was configured with, in float64. Raises ArgumentError."""
    if isinstance(scheduler, NoiseSchedule):
        return scheduler
    found: dict[str, Any] = dict(getattr(scheduler, "config", {}))
    if "num_train_timesteps" not in found or not {"beta_schedule", "trained_betas"} & found.keys():
        raise ArgumentError(
            "scheduler: expected a diffusers scheduler defined by betas, such as DDPMScheduler, found "
            f"{type(scheduler).__name__}"
        )
    for name, value in UNCHANGED_PROCESS.items():
        if found.get(name, value) != value:
            raise ArgumentError(f"scheduler: has {name} {found[name]!r}, but only {value!r} is supported")
    betas = found.get("trained_betas")
    known = [name for name in config.NoiseSchedule.model_fields if name in found]
    if betas is not None:  # they override the other settings
        known = [name for name in known if name in ("num_train_timesteps", "prediction_type")]
    settings = from_arguments(config.NoiseSchedule, {name: found[name] for name in known}, "scheduler.")
    if betas is None:
        return NoiseSchedule.from_config(settings)
    variances = np.asarray(betas, dtype=np.float64)
    if not (variances.size and np.all((variances > 0) & (variances < 1))):  # False for NaN
        raise ArgumentError("scheduler: its trained_betas are not all between 0 and 1; give the model's own scheduler")
    return NoiseSchedule(np.cumprod(1 - variances), settings.prediction_type)


def _alike(a: NoiseSchedule, b: NoiseSchedule) -> bool:
    """Whether two schedules are the same up to rounding to float32."""
    same = a.prediction_type == b.prediction_type and len(a.alphas_cumprod) == len(b.alphas_cumprod)
    return same and np.allclose(a.alphas_cumprod, b.alphas_cumprod, rtol=1e-4, atol=0)


def check_images(denoiser: UNetDenoiser, images: Tensor, argument: str = "images") -> None:
    """Raise ArgumentError for images [n, C, H, W] that the network cannot take."""
    settings = denoiser.unet.config
    channels, *sides = images.shape[1:]
    if channels != settings.in_channels:
        raise ArgumentError(
            f"{argument}: have {channels} channels, but the network takes {settings.in_channels}; convert them"
        )
    divisor = 2 ** (len(settings.block_out_channels) - 1)
    if any(side % divisor for side in sides):
        raise ArgumentError(
            f"{argument}: have {sides} pixels, but the network downsamples to {len(settings.block_out_channels)} "
            f"resolutions; give side lengths that are multiples of {divisor}"
        )


@contextlib.contextmanager
def evaluating(denoiser: UNetDenoiser) -> Iterator[UNetDenoiser]:
    """The network in evaluation mode with convolutions in full float32 (no TF32); both are restored afterwards."""
    training, tf32 = denoiser.unet.training, torch.backends.cudnn.allow_tf32
    denoiser.eval()
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield denoiser
    finally:
        denoiser.unet.train(training)
        torch.backends.cudnn.allow_tf32 = tf32
