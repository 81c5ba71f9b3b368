"""Tensors that identify the architecture of a pipeline's networks without building them.

They determine the channels of images and latents, and the number of blocks with their channels and layers. All other
tensors are compared when the weights are read. For a UNet2DModel all are known in advance, see `tensors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Landmark = tuple[str, list[int]]  # a tensor's name and shape


def landmarks_of_unet(settings: dict[str, Any]) -> Iterator[Landmark]:
    """Some tensors of a UNet2DModel or UNet2DConditionModel with these settings."""
    channels, layers = settings["block_out_channels"], _per_block(settings)
    finest, embedded = channels[0], settings.get("time_embedding_dim") or 4 * channels[0]
    sides = [settings.get(name, 3) for name in ("conv_in_kernel", "conv_out_kernel")]
    yield "conv_in.weight", [finest, settings["in_channels"], sides[0], sides[0]]
    yield "conv_out.weight", [settings["out_channels"], finest, sides[1], sides[1]]
    yield "time_embedding.linear_1.weight", [embedded, finest]
    yield from _blocks("down_blocks", channels, layers)
    yield from _blocks("up_blocks", channels[::-1], [number + 1 for number in layers[::-1]])


def landmarks_of_autoencoder(settings: dict[str, Any]) -> Iterator[Landmark]:
    """The same for an AutoencoderKL."""
    channels, layers, latent = settings["block_out_channels"], _per_block(settings), settings["latent_channels"]
    yield "encoder.conv_in.weight", [channels[0], settings["in_channels"], 3, 3]
    yield "encoder.conv_out.weight", [2 * latent, channels[-1], 3, 3]  # mean and variance
    yield "decoder.conv_in.weight", [channels[-1], latent, 3, 3]
    yield "decoder.conv_out.weight", [settings["out_channels"], channels[0], 3, 3]
    yield from _blocks("encoder.down_blocks", channels, layers)
    yield from _blocks("decoder.up_blocks", channels[::-1], [number + 1 for number in layers])


def landmarks_of_text_encoder(settings: dict[str, Any], prefix: str) -> Iterator[Landmark]:
    """The same for a CLIPTextModel whose tensor names begin with `prefix`."""
    width = settings["hidden_size"]
    yield f"{prefix}embeddings.token_embedding.weight", [settings["vocab_size"], width]
    yield f"{prefix}embeddings.position_embedding.weight", [settings["max_position_embeddings"], width]
    for layer in range(settings["num_hidden_layers"]):
        yield f"{prefix}encoder.layers.{layer}.self_attn.k_proj.weight", [width, width]


def _per_block(settings: dict[str, Any]) -> list[int]:
    layers = settings["layers_per_block"]
    return layers if isinstance(layers, list) else [layers] * len(settings["block_out_channels"])


def _blocks(prefix: str, channels: list[int], layers: list[int]) -> Iterator[Landmark]:
    """The last convolution of each residual layer, which keeps its block's channels."""
    for block, (width, number) in enumerate(zip(channels, layers, strict=True)):
        for layer in range(number):
            yield f"{prefix}.{block}.resnets.{layer}.conv2.weight", [width, width, 3, 3]
