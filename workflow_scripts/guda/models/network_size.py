"""Weights, operations and activations of a `UNet2DModel`, estimated from its configuration without torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from guda import config


FLOAT = 4  # bytes


class Layer(NamedTuple):
    """A residual layer: two 3x3 convolutions on `pixels` pixels, from `inputs` to `outputs` channels."""

    pixels: float
    inputs: int
    outputs: int
    attention: bool

    @property
    def weights(self) -> int:
        """Number of weights in its kernels, its shortcut and its attention."""
        shortcut = self.inputs * self.outputs if self.inputs != self.outputs else 0
        return 9 * (self.inputs + self.outputs) * self.outputs + shortcut + 4 * self.attention * self.outputs**2

    @property
    def activations(self) -> float:
        """Numbers kept per sample for the backward pass, around each normalization, convolution and attention."""
        return self.pixels * (3 * self.inputs + (6 + 8 * self.attention) * self.outputs)


def layers(unet: config.UNet, pixels: int) -> Iterator[Layer]:
    """The network's residual layers, in order, for images of `pixels` pixels."""
    channels, before = unet.block_out_channels, unet.block_out_channels[0]
    sizes = [pixels / 4**level for level in range(len(channels))]
    for size, here, down in zip(sizes, channels, unet.down_block_types, strict=True):
        for _ in range(unet.layers_per_block):
            yield Layer(size, before, here, down.startswith("Attn"))
            before = here
    if unet.mid_block_type:
        yield from [Layer(sizes[-1], before, before, unet.add_attention)] * 2
    for size, here, up in zip(reversed(sizes), reversed(channels), unet.up_block_types, strict=True):
        for _ in range(unet.layers_per_block + 1):
            yield Layer(size, before + here, here, up.startswith("Attn"))
            before = here


def parameters(unet: config.UNet) -> int:
    """Approximate number of weights: kernels, embeddings of the diffusion step in each layer, and resampling."""
    embedding = unet.time_embedding_dim or 4 * unet.block_out_channels[0]
    resampling = 2 * sum(9 * channels**2 for channels in unet.block_out_channels[:-1])
    return resampling + embedding**2 + sum(layer.weights + embedding * layer.outputs for layer in layers(unet, 1))


def operations(unet: config.UNet, pixels: int) -> float:
    """Approximate operations of one sample's forward pass: a multiplication and an addition per weight and pixel."""
    return 2 * sum(layer.weights * layer.pixels for layer in layers(unet, pixels))


def activations(unet: config.UNet, pixels: int) -> float:
    """Approximate bytes that one sample's forward pass keeps for the backward pass."""
    return FLOAT * sum(layer.activations for layer in layers(unet, pixels))
