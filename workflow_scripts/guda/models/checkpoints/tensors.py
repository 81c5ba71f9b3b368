"""All tensors of diffusers' UNet2DModel by name and shape, derived from its settings without building the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Tensors = Iterator[tuple[str, list[int]]]


class _Residual(NamedTuple):
    """Settings that all residual layers of a network share."""

    embedded: int  # channels of the embedding of the diffusion step
    scaled: bool  # whether it enters as scale and shift

    def tensors(self, name: str, inputs: int, outputs: int) -> Tensors:
        yield from _norm(f"{name}.norm1", inputs)
        yield from _layer(f"{name}.conv1", inputs, outputs, 3, 3)
        yield from _layer(f"{name}.time_emb_proj", self.embedded, outputs * (1 + self.scaled))
        yield from _norm(f"{name}.norm2", outputs)
        yield from _layer(f"{name}.conv2", outputs, outputs, 3, 3)
        if inputs != outputs:
            yield from _layer(f"{name}.conv_shortcut", inputs, outputs, 1, 1)


def tensors_of_unet(settings: dict[str, Any]) -> Tensors:
    """Names and shapes in the state dict of a network with these settings, from config.json or diffusers' defaults.

    The section `unet` of the configuration must be able to express them.
    """
    channels, layers = settings["block_out_channels"], settings["layers_per_block"]
    finest, coarsest = channels[0], channels[-1]
    embedded = settings["time_embedding_dim"] or 4 * finest
    residual = _Residual(embedded, settings["resnet_time_scale_shift"] == "scale_shift")
    yield from _layer("conv_in", settings["in_channels"], finest, 3, 3)
    yield from _layer("time_embedding.linear_1", finest, embedded)
    yield from _layer("time_embedding.linear_2", embedded, embedded)

    before = finest
    for block, (width, kind) in enumerate(zip(channels, settings["down_block_types"], strict=True)):
        name = f"down_blocks.{block}"
        yield from _block(name, residual, [before, *[width] * (layers - 1)], width, "Attn" in kind)
        if block < len(channels) - 1:
            yield from _resampling(f"{name}.downsamplers.0", residual, width, kind, settings["downsample_type"])
        before = width

    if settings["mid_block_type"]:
        yield from _block("mid_block", residual, [coarsest] * 2, coarsest, attended=False)
        if settings["add_attention"]:
            normed = bool(settings["attn_norm_num_groups"]) or not residual.scaled
            yield from _attention("mid_block.attentions.0", coarsest, normed)

    widths, before = channels[::-1], coarsest
    for block, (width, kind) in enumerate(zip(widths, settings["up_block_types"], strict=True)):
        name, inputs = f"up_blocks.{block}", [2 * width] * (layers + 1)  # from below, and from the skip connection
        inputs[0] += before - width
        inputs[-1] += widths[min(block + 1, len(widths) - 1)] - width
        yield from _block(name, residual, inputs, width, "Attn" in kind)
        if block < len(channels) - 1:
            yield from _resampling(f"{name}.upsamplers.0", residual, width, kind, settings["upsample_type"])
        before = width

    yield from _norm("conv_norm_out", finest)
    yield from _layer("conv_out", finest, settings["out_channels"], 3, 3)


def _block(name: str, residual: _Residual, inputs: list[int], outputs: int, attended: bool) -> Tensors:
    """Residual layers with these channels, each followed by attention if `attended`."""
    for layer, width in enumerate(inputs):
        yield from residual.tensors(f"{name}.resnets.{layer}", width, outputs)
        if attended:
            yield from _attention(f"{name}.attentions.{layer}", outputs)


def _resampling(name: str, residual: _Residual, width: int, kind: str, in_attention: str) -> Tensors:
    """The layer that halves or doubles the images in a block of this kind; `in_attention`: in attention blocks."""
    if kind.startswith("Resnet") or (kind.startswith("Attn") and in_attention == "resnet"):
        yield from residual.tensors(name, width, width)
    else:
        yield from _layer(f"{name}.conv", width, width, 3, 3)


def _attention(name: str, width: int, normed: bool = True) -> Tensors:
    if normed:
        yield from _norm(f"{name}.group_norm", width)
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _layer(f"{name}.{part}", width, width)


def _layer(name: str, inputs: int, outputs: int, *sides: int) -> Tensors:
    """A convolution with a kernel of these sides, or a linear layer without them."""
    yield f"{name}.weight", [outputs, inputs, *sides]
    yield f"{name}.bias", [outputs]


def _norm(name: str, width: int) -> Tensors:
    yield f"{name}.weight", [width]
    yield f"{name}.bias", [width]
