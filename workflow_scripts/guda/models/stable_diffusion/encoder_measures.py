"""Quality measures of the autoencoder and the text encoder; see `encoder_health`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda.data.pixels import to_network_range
from guda.models.stable_diffusion.encoder_health import CURE

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

IMAGES = 16  # that the autoencoder is tested on


def pixels_lost(vae: AutoencoderKL, images: Tensor) -> float:
    """Fraction of the variance of uint8 images [n, 3, H, W] that is lost by encoding and decoding.

    Measured on IMAGES of them, evenly spaced. The variance is that of all their pixels around one color. Raises
    FloatingPointError if the decoded images are not finite.
    """
    x = to_network_range(images[:: max(1, len(images) // IMAGES)][:IMAGES])
    with torch.no_grad():
        decoded = [vae.decode(vae.encode(part.to(vae.device)).latent_dist.mean).sample.cpu() for part in x.split(1)]
    color = x.mean((0, 2, 3), keepdim=True)
    level = 1 / 127.5  # the smallest difference between two images, instead of zero
    lost = ((torch.cat(decoded) - x).square().mean() / (x - color).square().mean().clamp_min(level**2)).item()
    if not math.isfinite(lost):
        raise FloatingPointError(
            f"the pipeline's autoencoder does not decode to finite values. {CURE.format('autoencoder')}"
        )
    return lost


def prompts_differ(pooled: Tensor) -> float | None:
    """Mean squared distance of prompts' pooled embeddings [P, E] from their mean, over their mean square.

    None for a single prompt.
    """
    if len(pooled) < 2:
        return None
    values = pooled.double()
    size = values.square().sum().item()
    return (values - values.mean(0)).square().sum().item() / size if size else 0.0


def encoders_health(vae: AutoencoderKL, images: Tensor, pooled: Tensor) -> dict[str, float]:
    """The measures of the encoders in the record of encoded samples; see `complaints`."""
    differ = prompts_differ(pooled)
    return {"pixels_lost": pixels_lost(vae, images)} | ({} if differ is None else {"prompts_differ": differ})
