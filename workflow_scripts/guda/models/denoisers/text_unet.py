"""Denoisers over diffusers' `UNet2DConditionModel`, conditioned on a prompt: the networks of Stable Diffusion 1 and 2.

They work on an autoencoder's latents; an "image" of shape [C, H, W] is a latent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from guda.core.errors import ArtifactError
from guda.models.checkpoints.weights import built
from guda.models.denoisers.unet import UNetDenoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.models.stable_diffusion.folder import CLASSES, unet_settings

NETWORK = CLASSES["unet"]
CROSS_ATTENTION = ".attn2."  # in the names of the layers that read the prompt
Trainable = Literal["full", "cross_attention"]


class TextDenoiser(UNetDenoiser):
    """A `UNet2DConditionModel` with the noise schedule it was trained for. Its condition is a prompt's embedding.

    `condition` float [B, L, D]: the text encoder's hidden states for L tokens each. There is no default: the empty
    prompt has an embedding, too.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of the network's latents."""
        size = self.unet.config.sample_size
        return self.unet.config.in_channels, *((size, size) if isinstance(size, int) else size)

    def _output(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise ValueError("a text-to-image network needs the embeddings of prompts as its condition")
        return self._forward(x_t, t, encoder_hidden_states=condition)


def new_text_denoiser(
    config_file: Path, schedule: NoiseSchedule, key: str, latent_size: tuple[int, int] | None = None
) -> TextDenoiser:
    """A freshly initialized network (by torch's global generator) with the architecture in a diffusers file.

    `latent_size` [H, W] replaces the size in the file: no layer depends on it. `key` names the setting in errors.
    Raises ArtifactError for a network of another family.
    """
    from diffusers import UNet2DConditionModel

    settings = unet_settings(config_file, key)
    if latent_size is not None:
        height, width = latent_size
        settings["sample_size"] = height if height == width else [height, width]
    unet = built(lambda: UNet2DConditionModel.from_config(settings), NETWORK, config_file.parent, key)
    if unet.config.sample_size is None:
        raise ArtifactError(f"{key}: {config_file} has no sample_size; write that of the latents it was trained on")
    return TextDenoiser(unet, schedule)


def select_trainable(denoiser: UNetDenoiser, trainable: Trainable) -> None:
    """Make all weights of a network trainable, or only those of the cross-attention, which reads the prompt."""
    for name, weight in denoiser.unet.named_parameters():
        weight.requires_grad_(trainable == "full" or CROSS_ATTENTION in name)
