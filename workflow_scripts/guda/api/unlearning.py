"""Unlearning of a diffusers model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from torch import Tensor

from guda.api.arguments import as_images, as_mask
from guda.api.networks import as_denoiser, check_images, evaluating
from guda.config.messages import from_arguments
from guda.core.errors import ArgumentError
from guda.training.state import Execution
from guda.unlearning.retrack.compute import unlearn as retrack
from guda.unlearning.retrack.neighbors import nearest_retained
from guda.unlearning.retrack.plan import Unlearning

if TYPE_CHECKING:
    from diffusers import UNet2DModel

    from guda.api.arguments import Images
    from guda.api.networks import Model, Scheduler


def unlearn(
    model: Model,
    images: Images,
    forget: ArrayLike | Tensor,
    *,
    scheduler: Scheduler | None = None,
    micro_batch_size: int | None = None,
    **settings: Any,
) -> UNet2DModel:
    """A copy of the model that approximates retraining without some training images, unlearned by ReTrack as in GUDA.

    On images to forget, the model is redirected to the denoising directions of their nearest retained neighbors in
    pixel space; on retained images it is preserved (docs/method.md; arXiv 2601.22651). The same arguments give the same
    weights on the same CPU, equal to the workflow's `models/guda/GROUP`.

    Args:
        model: a diffusers `UNet2DModel`, or a pipeline that contains one, such as `DDPMPipeline`; left unchanged.
        images: the training images, uint8 [N, C, H, W] with levels 0 to 255 (torch or numpy), or N PIL images.
        forget: mask of the images to unlearn, bool [N].
        scheduler: the diffusers scheduler that the model was trained with; None: the pipeline's own.
        micro_batch_size: images per micro-batch (gradient accumulation), to save memory; None: the whole batch.
        settings: keys of the section `unlearn` of the configuration, with its defaults: `steps`, `batch_size`,
            `learning_rate`, `forget_weight`, `bandwidth`, `n_neighbors`, `preserve`, `seed`, `warmup_steps`, ...
            (config.yaml says how to choose them).

    Returns:
        The unlearned `UNet2DModel`, in evaluation mode.

    Raises:
        GudaError: for an invalid argument.
        FloatingPointError: if the weights diverge.
    """
    chosen = from_arguments(Unlearning, settings)
    pixels = as_images(images)
    mask = as_mask(forget, len(pixels), "forget")
    if not mask.any():
        raise ArgumentError("forget: marks no image; mark the images to unlearn")
    denoiser = as_denoiser(model, scheduler)
    check_images(denoiser, pixels)
    steps = len(denoiser.schedule.alphas_cumprod)
    for key, step in (("first", chosen.first), ("last", chosen.last or 0)):
        if step >= steps:
            raise ArgumentError(f"{key} is {step}, but the scheduler's last step is {steps - 1}; choose an earlier one")
    if not any(weight.requires_grad for weight in denoiser.parameters()):
        raise ArgumentError("model: all its weights are frozen; call requires_grad_(True) first")
    neighbors, _ = nearest_retained(pixels, mask, chosen.n_neighbors)
    with evaluating(denoiser):
        how = Execution(micro_batch_size=micro_batch_size, progress="unlearning")
        student, _ = retrack(denoiser, pixels, mask, neighbors, chosen, how)
    return student.unet
