"""Code shared by operators that unlearn text-to-image models."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from guda.data.captions import Captions
from guda.models.denoisers import UNetDenoiser, add_adapters
from guda.models.denoisers.text_unet import Trainable, select_trainable
from guda.models.noise_schedule import NoiseSchedule
from guda.training.loop import batch_rows, random_steps
from guda.unlearning.anchors.plan import Anchors
from guda.unlearning.esd.plan import Esd

Denoiser = TypeVar("Denoiser", bound=UNetDenoiser)


def student_of(
    full: Denoiser, trainable: Trainable | Literal["lora"], adapters: tuple[int, int] | None, seed: int
) -> Denoiser:
    """A copy of the base model with some weights trainable.

    For `lora`, these are new adapters with the rank and alpha of `adapters`, initialized from the seed.
    """
    student = copy.deepcopy(full)
    if trainable != "lora":
        select_trainable(student, trainable)
    elif adapters is not None:
        add_adapters(student, *adapters, seed)
    return student


@dataclass(frozen=True)
class PromptedDraws:
    """Batches of latents [N, C, H, W] and their captions, drawn by (seed, step), under the noise schedule."""

    latents: Tensor
    captions: Captions
    settings: Anchors | Esd
    schedule: NoiseSchedule

    def of(self, members: Tensor, kind: str, step: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """A step's batch from the images in the rows `members`; `kind` is forget or retain.

        Returns the rows and the indices of their prompts at this step, int64 [B]; then latents and noise [B, C, H, W],
        diffusion steps int64 [B], and prompt embeddings [B, L, D]. Noise and diffusion steps come from torch's global
        generator.
        """
        size, seed = self.settings.batch_size, self.settings.seed
        rows = members[batch_rows(step, len(members), size, kind, seed)]
        x, prompts = self.latents[rows], self.captions.choose(rows, step)
        noise, t = torch.randn_like(x), random_steps(size, self.schedule, self.settings.window)
        return rows, prompts, [x, noise, t, self.captions.embedded(prompts)]
