"""ESD: unlearning by steering the denoising trajectories of forget images away from their group.

Erased Stable Diffusion (Gandikota et al. 2023) applies a model's own guidance in the negative direction of a concept.
An unconditional model has no guidance, so a group's direction comes from the group-conditional network.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.models.denoisers import UNetDenoiser, load_denoiser
from guda.training.state import Execution
from guda.unlearning.esd.plan import Esd, EsdSpec
from guda.unlearning.operator import Job
from guda.unlearning.redirection import redirect


@torch.no_grad()
def erased_noise(
    full: UNetDenoiser, conditional: UNetDenoiser, x_t: Tensor, t: Tensor, label: int, guidance: float
) -> Tensor:
    """ESD's target, [B, C, H, W]: e_full - guidance (e_k - e_none) at x_t [B, C, H, W] and t int64 [B].

    e_full is the base model's prediction, e_k and e_none the conditional network's with the group and with no group.
    """
    of_group, of_all = conditional.predict_noise(x_t, t, torch.full_like(t, label)), conditional.predict_noise(x_t, t)
    return full.predict_noise(x_t, t) - guidance * (of_group - of_all)


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    conditional: UNetDenoiser,
    label: int,
    settings: Esd,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the forget images unlearned, and the evaluations spent; see `redirect`.

    `label` is the group's label in the conditional network.
    """

    def target(x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return erased_noise(full, conditional, x_t, t, label, settings.guidance)

    student = redirect(full, images, forget, target, settings, execution)
    teachers = 3 + (settings.preserve == "distillation")
    return student, settings.steps * settings.batch_size * (2 * FORWARD_AND_BACKWARD + teachers)


def run(job: Job[EsdSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`."""
    folder = Path(job.files[0]).parent
    conditional, _ = load_denoiser(folder, job.full.schedule, job.spec.conditional)
    return unlearn(
        job.full,
        job.training_set.images,
        job.forget,
        conditional.to(job.full.device),
        job.spec.label,
        job.spec.settings,
        job.execution,
    )
