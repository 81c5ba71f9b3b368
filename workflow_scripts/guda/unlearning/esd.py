"""ESD: unlearning by steering the denoising trajectories of forget images away from their group.

Erased Stable Diffusion (Gandikota et al. 2023) turns a model's own guidance against a concept. An unconditional model
has none, so the direction of a group comes from the group-conditional network.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda import config
from guda.denoisers import UNetDenoiser
from guda.records import FORWARD_AND_BACKWARD
from guda.training import batch_rows, optimise, random_steps, to_network_range
from guda.training_state import TrainingState


@torch.no_grad()
def erased_noise(
    full: UNetDenoiser, conditional: UNetDenoiser, x_t: Tensor, t: Tensor, label: int, guidance: float
) -> Tensor:
    """ESD's target, [B, C, H, W]: e_full - guidance (e_k - e_none) at x_t [B, C, H, W] and t int64 [B].

    e_full is the full model's prediction, e_k and e_none those of the conditional network told the group and told none.
    """
    told, untold = conditional.predict_noise(x_t, t, torch.full_like(t, label)), conditional.predict_noise(x_t, t)
    return full.predict_noise(x_t, t) - guidance * (told - untold)


def unlearn(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    conditional: UNetDenoiser,
    label: int,
    settings: config.Esd,
    state: TrainingState | None = None,
) -> tuple[UNetDenoiser, int]:
    """A copy of the full model that has unlearned the forget images, and the evaluations spent.

    Minimises forget_weight ||e_theta(x_t) - target||^2 over forget images plus the preserve term over retained ones,
    both as means over pixels. `images` uint8 [N, C, H, W]; `forget` bool [N]; `label` is that of the group in the
    conditional network.
    """
    student = copy.deepcopy(full)
    forget_rows, retained_rows = torch.nonzero(forget).flatten(), torch.nonzero(~forget).flatten()
    batch_size = settings.batch_size

    def draw(step: int) -> list[Tensor]:
        """Forget and retained images, the steps of both, and the noise of both."""
        forgotten = batch_rows(step, len(forget_rows), batch_size, "forget", settings.seed)
        retained = batch_rows(step, len(retained_rows), batch_size, "retain", settings.seed)
        x = to_network_range(images[torch.cat([forget_rows[forgotten], retained_rows[retained]])])
        t = [random_steps(batch_size, full.schedule), random_steps(batch_size, full.schedule)]
        return [*x.split(batch_size), *t, *torch.randn_like(x).split(batch_size)]

    def loss(
        x_forget: Tensor,
        x_retain: Tensor,
        t_forget: Tensor,
        t_retain: Tensor,
        noise_forget: Tensor,
        noise_retain: Tensor,
    ) -> Tensor:
        n, t = len(x_forget), torch.cat([t_forget, t_retain])
        x_t = full.add_noise(torch.cat([x_forget, x_retain]), torch.cat([noise_forget, noise_retain]), t)
        forget_target = erased_noise(full, conditional, x_t[:n], t_forget, label, settings.guidance)
        retain_target = noise_retain
        if settings.preserve == "distillation":
            with torch.no_grad():
                retain_target = full.predict_noise(x_t[n:], t_retain)
        error = (student.predict_noise(x_t, t) - torch.cat([forget_target, retain_target])).square()
        return settings.forget_weight * error[:n].mean() + error[n:].mean()

    optimise(student, draw, loss, settings, settings.seed, "unlearning", state=state)
    teachers = 3 + (settings.preserve == "distillation")
    return student, settings.steps * batch_size * (2 * FORWARD_AND_BACKWARD + teachers)
