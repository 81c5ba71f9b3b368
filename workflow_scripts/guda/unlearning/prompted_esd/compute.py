"""ESD with a model's own guidance (Erased Stable Diffusion, Gandikota et al. 2023)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import optimize
from guda.unlearning.esd.plan import Esd
from guda.unlearning.operator import Job
from guda.unlearning.prompted import PromptedDraws, student_of
from guda.unlearning.prompted_esd.plan import PromptedEsdSpec


@torch.no_grad()
def erased_noise(full: UNetDenoiser, x_t: Tensor, t: Tensor, prompts: Tensor, empty: Tensor, guidance: float) -> Tensor:
    """ESD's target, [B, C, H, W]: e(x_t, "") - guidance (e(x_t, c) - e(x_t, "")) of the base model.

    x_t [B, C, H, W], t int64 [B]; `prompts` [B, L, D] are the embeddings of c, `empty` [L, D] that of "".
    """
    unconditional = full.predict_noise(x_t, t, empty.expand_as(prompts))
    return unconditional - guidance * (full.predict_noise(x_t, t, prompts) - unconditional)


def erasing_loss(
    student: UNetDenoiser, full: UNetDenoiser, forgotten: list[Tensor], retained: list[Tensor], empty: Tensor, how: Esd
) -> Tensor:
    """lambda ||e_theta(x_t^f, c_f) - erased noise||^2 + ||e_theta(x_t^r, c_r) - target||^2, averaged over pixels.

    For forget and for retained images: latents and noise [B, C, H, W], diffusion steps int64 [B], prompt embeddings
    [B, L, D]. The target is the noise or e_full(x_t^r, c_r); lambda is `forget_weight`.
    """
    x, noise, t, prompts = (torch.cat(pair) for pair in zip(forgotten, retained, strict=True))
    n, x_t, target = len(forgotten[0]), full.add_noise(x, noise, t), noise.clone()
    target[:n] = erased_noise(full, x_t[:n], t[:n], prompts[:n], empty.to(x_t.device), how.guidance)
    if how.preserve == "distillation":
        with torch.no_grad():
            target[n:] = full.predict_noise(x_t[n:], t[n:], prompts[n:])
    error = (student.predict_noise(x_t, t, prompts) - target).square()
    return how.forget_weight * error[:n].mean() + error[n:].mean()


def run(job: Job[PromptedEsdSpec]) -> tuple[UNetDenoiser, int]:
    """See `Operator.run`. At each step an image is conditioned on one of its own prompts."""
    full, settings = job.full, job.spec.settings
    captions = replace(job.training_set.required_captions(), seed=settings.seed)
    student = student_of(full, job.spec.trainable, job.spec.adapters, settings.seed)
    draws = PromptedDraws(job.training_set.images, captions, settings, full.schedule)
    forget_rows, retained_rows = torch.nonzero(job.forget).flatten(), torch.nonzero(~job.forget).flatten()

    def draw(step: int) -> list[Tensor]:
        return [*draws.of(forget_rows, "forget", step)[2], *draws.of(retained_rows, "retain", step)[2]]

    def loss(*drawn: Tensor) -> Tensor:
        return erasing_loss(student, full, list(drawn[:4]), list(drawn[4:]), captions.empty, settings)

    optimize(student, draw, loss, settings, settings.seed, job.execution)
    teachers = 2 + (settings.preserve == "distillation")
    return student, settings.steps * settings.batch_size * (2 * FORWARD_AND_BACKWARD + teachers)
