"""Code shared by operators that redirect the denoiser on forget images and preserve it on retained images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import batch_rows, optimize, random_steps
from guda.training.state import Execution

if TYPE_CHECKING:
    from guda.unlearning.esd.plan import Esd
    from guda.unlearning.retrack.plan import Unlearning


def redirect(
    full: UNetDenoiser,
    images: Tensor,
    forget: Tensor,
    target: Callable[..., Tensor],
    settings: Unlearning | Esd,
    execution: Execution,
    beside: Callable[[Tensor], Tensor] | None = None,
) -> UNetDenoiser:
    """A copy of the base model trained to predict given targets on forget images and preserved on retained images.

    Minimizes forget_weight ||e_theta(x_t) - target||^2 over forget images plus the preserve term over retained images,
    both averaged over pixels. `target(x_t, t, noise, ...)` returns the targets of a batch of forget images,
    [B, C, H, W]; its last argument is what `beside` returns for their indices, int64 [B], among the forget images.
    `images` uint8 [N, C, H, W]; `forget` bool [N].
    """
    student = copy.deepcopy(full)
    forget_rows, retained_rows = torch.nonzero(forget).flatten(), torch.nonzero(~forget).flatten()
    batch_size = settings.batch_size

    def draw(step: int) -> list[Tensor]:
        """Forget and retained images, steps and noise of both, and the extra inputs of the forget images."""
        forgotten = batch_rows(step, len(forget_rows), batch_size, "forget", settings.seed)
        retained = batch_rows(step, len(retained_rows), batch_size, "retain", settings.seed)
        x = to_network_range(images[torch.cat([forget_rows[forgotten], retained_rows[retained]])])
        t = [random_steps(batch_size, full.schedule, settings.window) for _ in range(2)]
        more = [] if beside is None else [beside(forgotten)]
        return [*x.split(batch_size), *t, *torch.randn_like(x).split(batch_size), *more]

    def loss(
        x_forget: Tensor,
        x_retain: Tensor,
        t_forget: Tensor,
        t_retain: Tensor,
        noise_forget: Tensor,
        noise_retain: Tensor,
        *more: Tensor,
    ) -> Tensor:
        n, t = len(x_forget), torch.cat([t_forget, t_retain])
        x_t = full.add_noise(torch.cat([x_forget, x_retain]), torch.cat([noise_forget, noise_retain]), t)
        forget_target = target(x_t[:n], t_forget, noise_forget, *more)
        retain_target = noise_retain
        if settings.preserve == "distillation":
            with torch.no_grad():
                retain_target = full.predict_noise(x_t[n:], t_retain)
        error = (student.predict_noise(x_t, t) - torch.cat([forget_target, retain_target])).square()
        return settings.forget_weight * error[:n].mean() + error[n:].mean()

    optimize(student, draw, loss, settings, settings.seed, execution)
    return student
