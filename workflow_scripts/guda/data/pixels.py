"""Images in the networks' value range."""

from __future__ import annotations

from torch import Tensor


def to_network_range(images: Tensor) -> Tensor:
    """uint8 images to float32 in [-1, 1]; latents, which are float32, are returned unchanged."""
    return images if images.is_floating_point() else images.float() / 127.5 - 1
