"""Denoisers over diffusers' `UNet2DModel`, unconditional or conditional on a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from guda import config
from guda.core.device import network_precision
from guda.models.denoisers.variance import VLB_WEIGHT, reverse_step_kl
from guda.models.noise_schedule import NoiseSchedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


class Denoiser(Protocol):
    """The interface that scoring and sampling need: an unconditional network, or one bound to its conditions."""

    @property
    def device(self) -> torch.device: ...

    @property
    def schedule(self) -> NoiseSchedule: ...

    @property
    def unet(self) -> Any: ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of the images that the network is made for."""
        ...

    def of(self, rows: Sequence[int] | Tensor) -> Denoiser:
        """The same for a batch of the images that it is bound to, in which one may occur several times."""
        ...

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = gamma_t x + sigma_t e, [B, C, H, W]."""
        ...

    def predict_noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """e_theta(x_t, t), float32 of x_t's shape [B, C, H, W]; t int64 [B] counts as `alphas_cumprod` does.

        A float t lies between two steps.
        """
        ...


class UNetDenoiser(torch.nn.Module):
    """A `UNet2DModel` with the noise schedule it was trained for.

    With `n_labels` class embeddings it is conditioned on a label; the last label means that no group is given.
    """

    unet: Any  # diffusers' network, whose type annotations are too loose
    gammas: Tensor
    sigmas: Tensor
    log_noise_ratios: Tensor
    kl_weights: Tensor
    log_variance_ranges: Tensor
    precision = "float32"  # of the network's forward passes; everything else is in float32

    def __init__(self, unet: torch.nn.Module, schedule: NoiseSchedule, n_labels: int | None = None):
        super().__init__()
        self.no_group = None if n_labels is None else n_labels - 1
        self.unet = unet
        self.schedule = schedule
        self.register_buffer("gammas", torch.tensor(schedule.gammas, dtype=torch.float32), persistent=False)
        self.register_buffer("sigmas", torch.tensor(schedule.sigmas, dtype=torch.float32), persistent=False)
        ratios = torch.tensor(schedule.log_noise_ratios, dtype=torch.float32)
        self.register_buffer("log_noise_ratios", ratios, persistent=False)
        # Step 0 is the decoder term, which the variational term leaves out: its infinite entries become 0.
        for name in ("kl_weights", "log_variance_ranges"):
            values = torch.tensor(getattr(schedule, name), dtype=torch.float32).nan_to_num(posinf=0)
            self.register_buffer(name, values, persistent=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of the images that the network is made for."""
        return self.unet.config.in_channels, *self.unet.config.sample_size

    @property
    def device(self) -> torch.device:
        return self.gammas.device

    def conditioned_on(self, condition: Tensor | None) -> Denoiser:
        """The denoiser bound to a condition for each of n images, [n, ...]; None: unchanged."""
        from guda.models.denoisers.bound import BoundDenoiser

        return self if condition is None else BoundDenoiser(self, condition)

    def of(self, rows: Sequence[int] | Tensor) -> Denoiser:
        """Itself: it is not conditioned on the images."""
        return self

    def scales(self, t: Num[Tensor, " b"]) -> tuple[Float[Tensor, "b 1 1 1"], Float[Tensor, "b 1 1 1"]]:
        """gamma_t = sqrt(a_t) and sigma_t = sqrt(1 - a_t), each [B, 1, 1, 1].

        For a float t, between two steps, log(sigma / gamma) is interpolated.
        """
        if t.is_floating_point():
            left = t.long().clamp(max=len(self.gammas) - 2)
            u = torch.lerp(self.log_noise_ratios[left], self.log_noise_ratios[left + 1], t - left)
            gamma, sigma = torch.sigmoid(-2 * u).sqrt(), torch.sigmoid(2 * u).sqrt()
        else:
            gamma, sigma = self.gammas[t], self.sigmas[t]
        return gamma[:, None, None, None], sigma[:, None, None, None]

    def add_noise(
        self, x: Float[Tensor, "... c h w"], noise: Float[Tensor, "b c h w"], t: Num[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        """x_t = gamma_t x + sigma_t e, [B, C, H, W]."""
        gamma, sigma = self.scales(t)
        return gamma * x + sigma * noise

    def predict_noise(
        self, x_t: Float[Tensor, "b c h w"], t: Num[Tensor, " b"], condition: Num[Tensor, "b ..."] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """e_theta(x_t, t), converted from whatever the network predicts; channels of a learned variance are dropped.

        `condition` int64 [B]: labels of groups; None: no group is given.
        """
        return self._noise(self._output(x_t, t, condition)[:, : x_t.shape[1]], x_t, t)

    def _output(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        if self.no_group is None:
            if condition is not None:
                raise ValueError("a network without class embeddings takes no condition")
            return self._forward(x_t, t)
        return self._forward(x_t, t, class_labels=torch.full_like(t, self.no_group) if condition is None else condition)

    def _forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        with network_precision(x_t.device, self.precision):
            output: Tensor = self.unet(x_t, t, **condition).sample
        return output.float()

    def _noise(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        gamma, sigma = self.scales(t)
        if self.schedule.prediction_type == "v_prediction":
            return gamma * output + sigma * x_t  # v = gamma e - sigma x (Salimans & Ho 2022)
        if self.schedule.prediction_type == "sample":
            return (x_t - gamma * output) / sigma
        return output

    def target(
        self, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], t: Num[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        """The network's prediction target, [B, C, H, W]: the noise, the velocity or the image."""
        gamma, sigma = self.scales(t)
        targets = {"epsilon": noise, "v_prediction": gamma * noise - sigma * x, "sample": x}
        return targets[self.schedule.prediction_type]

    def own_errors(
        self,
        x: Float[Tensor, "b c h w"],
        noise: Float[Tensor, "b c h w"],
        t: Int[Tensor, " b"],
        condition: Tensor | None = None,
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Mean squares over pixels of the error of the network's own prediction and of its target, each [B]."""
        target, output = self.target(x, noise, t), self._output(self.add_noise(x, noise, t), t, condition)
        wrong = output[:, : x.shape[1]] - target
        return wrong.square().flatten(1).mean(1), target.square().flatten(1).mean(1)

    def training_loss(
        self,
        x: Float[Tensor, "b c h w"],
        noise: Float[Tensor, "b c h w"],
        t: Int[Tensor, " b"],
        condition: Num[Tensor, "b ..."] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the network's own prediction (noise, velocity or image), a scalar.

        A network with a learned variance adds L_vlb = T * mean KL of steps 1 .. T-1, in nats per dimension, weighted by
        VLB_WEIGHT. Its gradient reaches the variance channels and the layers below, not the noise channels.
        """
        channels = x.shape[1]
        x_t = self.add_noise(x, noise, t)
        output = self._output(x_t, t, condition)
        prediction, variance = output[:, :channels], output[:, channels:]
        loss = torch.nn.functional.mse_loss(prediction, self.target(x, noise, t))
        if not variance.shape[1]:
            return loss
        error = noise - self._noise(prediction.detach(), x_t, t)
        at_steps = (values[t][:, None, None, None] for values in (self.kl_weights, self.log_variance_ranges))
        return loss + VLB_WEIGHT * len(self.gammas) * reverse_step_kl(variance, error, *at_steps).mean()


def new_denoiser(
    settings: config.UNet, schedule: NoiseSchedule, image_shape: tuple[int, ...], n_labels: int | None = None
) -> UNetDenoiser:
    """A freshly initialized network (by torch's global generator) for images of shape [C, H, W].

    With `n_labels` it is conditional, with that many class embeddings.
    """
    from diffusers import UNet2DModel

    channels, height, width = image_shape
    unet = UNet2DModel(
        sample_size=(height, width),
        in_channels=channels,
        out_channels=2 * channels if settings.learned_variance else channels,
        num_class_embeds=n_labels,
        **settings.model_dump(exclude={"learned_variance"}),
    )
    return UNetDenoiser(unet, schedule, n_labels)
