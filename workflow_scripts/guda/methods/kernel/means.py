"""Weighted means of all training images and of those without each group, in blocks to bound memory; in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda.data.pixels import to_network_range

if TYPE_CHECKING:
    from jaxtyping import Float, Num

NUMBERS = 2**22  # values of images or features per block: 32 MiB


def blocks(length: int, size: int) -> list[slice]:
    """Consecutive slices of `size` elements (at least one) that cover `length`."""
    size = max(1, size)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def vectors(samples: Num[Tensor, "n ..."], device: torch.device) -> Float[Tensor, "n p"]:
    """Images in network range, latents or features, flattened to vectors."""
    return to_network_range(samples.to(device)).flatten(1).double()


def kernel_logits(
    points: Float[Tensor, "b p"],
    samples: Num[Tensor, "n ..."],
    scale: Float[Tensor, " b"],
    variance: Float[Tensor, " b"],
) -> Float[Tensor, "b n"]:
    """-||x - scale a||^2 / (2 variance) of points x and samples a, up to a constant per x."""
    logits = points.new_empty(len(points), len(samples))
    for block in blocks(len(samples), NUMBERS // points.shape[1]):
        a = vectors(samples[block], points.device)
        logits[:, block] = (points @ a.T - scale[:, None] / 2 * a.square().sum(1)) * (scale / variance)[:, None]
    return logits


def weighted_sum(weights: Float[Tensor, "b n"], images: Num[Tensor, "n ..."]) -> Float[Tensor, "b p"]:
    """sum_a w_a a."""
    total = weights.new_zeros(len(weights), images[0].numel())
    for block in blocks(len(images), NUMBERS // total.shape[1]):
        total += weights[:, block] @ vectors(images[block], weights.device)
    return total


def shifts(logits: Float[Tensor, "b n"], images: Num[Tensor, "n ..."], members: Sequence[Tensor]) -> Iterator[Tensor]:
    """m_D - m_{D minus D_k} for each group k in turn, with m_S the mean of the images of S under softmax_S(logits).

    `members` are the rows of each group's images, never all rows. With W the sum of all weights and M that of weighted
    images, m_{D minus D_k} = (M - M_k) / (W - W_k). If a group has more than half of the weight, where these
    differences lose precision, the softmax over the retained images is computed instead.
    """
    weights = (logits - logits.amax(1, keepdim=True)).exp()
    total = weights.sum(1, keepdim=True)
    mean = weighted_sum(weights, images) / total
    sums = torch.stack([weights[:, rows].sum(1) for rows in members])
    most = (sums > total.T / 2).cpu()  # of all groups at once, since this waits for the device
    for rows, held, near in zip(members, sums[:, :, None], most, strict=True):
        shift = (weighted_sum(weights[:, rows], images[rows]) - held * mean) / (total - held)
        near = near.nonzero().flatten()
        if len(near):
            retained = logits[near].index_fill(1, rows.to(logits.device), -torch.inf).softmax(1)
            shift[near] = mean[near] - weighted_sum(retained, images)
        yield shift
