"""Whether the parts of a text-to-image pipeline that turn images and prompts into numbers are fit for that.

Torch-free but for what is measured, since the workflow plans with it.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from guda.errors import ArtifactError
from guda.paths import TRAINING, record_of
from guda.records import read_record

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

    from guda.text_experiment import TextExperiment

IMAGES = 16  # that the autoencoder is tried on
# Share of the pixels' variance that is lost: a grey image loses 1.
LOST = 0.5
# Share of the pooled embeddings' mean square by which prompts differ: 0 where all prompts look the same.
ALIKE = 1.0e-3
CURE = (
    "Take another pipeline; for one that is made here, lower {}.learning_rate in `text_to_image.small_pipeline`, or "
    "raise its steps."
)


def pixels_lost(vae: AutoencoderKL, images: Tensor) -> float:
    """Share of the variance of uint8 images [n, 3, H, W] that is gone when they are encoded and decoded again.

    Of IMAGES of them, spread evenly. The variance is that of all their pixels around one colour. Raises
    FloatingPointError when what is decoded is not finite.
    """
    import torch

    from guda.training import to_network_range

    x = to_network_range(images[:: max(1, len(images) // IMAGES)][:IMAGES])
    with torch.no_grad():
        decoded = [vae.decode(vae.encode(part.to(vae.device)).latent_dist.mean).sample.cpu() for part in x.split(1)]
    colour = x.mean((0, 2, 3), keepdim=True)
    level = 1 / 127.5  # the least difference between two images, in place of none at all
    lost = ((torch.cat(decoded) - x).square().mean() / (x - colour).square().mean().clamp_min(level**2)).item()
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
    """What the record of encoded samples says of the networks that encoded them; see `complaints`."""
    differ = prompts_differ(pooled)
    return {"pixels_lost": pixels_lost(vae, images)} | ({} if differ is None else {"prompts_differ": differ})


def complaints(health: dict[str, float]) -> list[str]:
    """What is wrong with the encoders, a sentence each."""
    lost, differ, found = health.get("pixels_lost", 0.0), health.get("prompts_differ", 1.0), []
    if lost >= LOST:
        problem = f"autoencoder loses {lost:.3g} of what images differ by (a grey image loses 1)"
        found.append(f"the pipeline's {problem}. {CURE.format('autoencoder')}")
    if differ <= ALIKE:
        problem = f"text encoder hardly tells prompts apart (they differ by {differ:.3g} of their embeddings' size)"
        found.append(f"the pipeline's {problem}. {CURE.format('text_encoder')}")
    return found


def encoder_notes(experiment: TextExperiment) -> list[str]:
    """What the record of the encoded training images says, if it is there."""
    with contextlib.suppress(ArtifactError):
        record = read_record(
            record_of(experiment.on_disk.encoded(TRAINING)), experiment.encoded_spec(TRAINING).digest()
        )
        return complaints(record.get("health", {}))
    return []
