"""What operators share that unlearn a text-to-image model."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from guda.config.training import Optimisation
from guda.data.captions import Captions
from guda.models.denoisers import TextDenoiser, add_adapters
from guda.models.denoisers.text_unet import select_trainable
from guda.models.noise_schedule import NoiseSchedule
from guda.training.loop import batch_rows, random_steps


def student_of(full: TextDenoiser, trainable: str, adapters: tuple[int, float] | None, seed: int) -> TextDenoiser:
    """A copy of the full model of which training moves some weights: full, cross_attention, or lora.

    With `adapters`, rank and alpha, it moves fresh adapters alone, drawn from the seed.
    """
    student = copy.deepcopy(full)
    if adapters is None:
        select_trainable(student, trainable)
    else:
        add_adapters(student, *adapters, seed)
    return student


@dataclass(frozen=True)
class PromptedDraws:
    """Batches of latents [N, C, H, W] and of their captions, by (seed, step), for a process with `schedule`."""

    latents: Tensor
    captions: Captions
    settings: Optimisation  # batch_size, seed
    schedule: NoiseSchedule

    def of(self, members: Tensor, kind: str, step: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """A step's batch of the images in the rows `members`, which are of one kind: forget or retain.

        Their rows and the numbers of their prompts at this step, int64 [B]; then latents and noise [B, C, H, W],
        diffusion steps int64 [B], and the embeddings of the prompts [B, L, D]. Noise and diffusion steps come from
        torch's global generator.
        """
        size, seed = self.settings.batch_size, self.settings.seed
        rows = members[batch_rows(step, len(members), size, kind, seed)]
        x, prompts = self.latents[rows], self.captions.choose(rows, step)
        drawn = [x, torch.randn_like(x), random_steps(size, self.schedule), self.captions.embedded(prompts)]
        return rows, prompts, drawn
