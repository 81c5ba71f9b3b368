"""Denoisers bound to their conditioning for each image, so that scoring and samplers need not handle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guda.models.denoisers.unet import UNetDenoiser
from guda.models.noise_schedule import NoiseSchedule

if TYPE_CHECKING:
    from jaxtyping import Float, Num


@dataclass(frozen=True)
class BoundDenoiser:
    """A denoiser with its conditions for n images: labels int64 [n], or prompt embeddings float [n, L, D]."""

    denoiser: UNetDenoiser
    condition: Tensor

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @property
    def unet(self) -> Any:
        return self.denoiser.unet

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of the network's images."""
        return self.denoiser.image_shape

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = gamma_t x + sigma_t e, [B, C, H, W]."""
        return self.denoiser.add_noise(x, noise, t)

    def of(self, rows: Sequence[int] | Tensor) -> BoundDenoiser:
        """The same for a batch of these images, in which one may occur several times."""
        return BoundDenoiser(self.denoiser, self.condition[torch.as_tensor(rows)])

    def predict_noise(self, x_t: Float[Tensor, "b c h w"], t: Num[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """e_theta(x_t, t, condition), [n, C, H, W], for one x_t per image."""
        return self.denoiser.predict_noise(x_t, t, self.condition.to(self.device))


@dataclass(frozen=True)
class GuidedDenoiser(BoundDenoiser):
    """The same with classifier-free guidance (Ho & Salimans 2022), w = `guidance_scale` as in Stable Diffusion.

    `unconditional` [L, D] is the embedding of the empty prompt.
    """

    unconditional: Tensor
    guidance_scale: float

    def of(self, rows: Sequence[int] | Tensor) -> GuidedDenoiser:
        return replace(self, condition=self.condition[torch.as_tensor(rows)])

    def predict_noise(self, x_t: Float[Tensor, "b c h w"], t: Num[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """e_u + w (e_c - e_u), [n, C, H, W]: w = 1 uses the prompt alone, w = 0 ignores it."""
        conditional = super().predict_noise(x_t, t)
        if self.guidance_scale == 1:
            return conditional
        empty = self.unconditional.to(self.device).expand(len(x_t), *self.unconditional.shape)
        unconditional = self.denoiser.predict_noise(x_t, t, empty)
        return unconditional + self.guidance_scale * (conditional - unconditional)
