"""Kernel width by cross-validation over groups on the training images, without queries or an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.core.errors import ArtifactError
from guda.core.seeding import chosen, derive_seed
from guda.methods.kernel.means import blocks, kernel_logits, vectors, weighted_sum
from guda.methods.kernel.plan import GRID, PREDICTED, WEIGHTS

if TYPE_CHECKING:
    from jaxtyping import Float, Num


def fit_width(
    samples: Num[Tensor, "n ..."],
    images: Num[Tensor, "n ..."],
    ids: list[str],
    members: Sequence[Tensor],
    device: torch.device,
) -> float:
    """The grid width that best predicts images from images outside their group (see `errors`).

    PREDICTED grouped images, chosen by a hash of their ids, are predicted without one of their groups, also chosen by a
    hash. Raises ArtifactError if all of them are identical.
    """
    groups_of: dict[int, list[int]] = {}
    for group, rows in enumerate(members):
        for row in rows.tolist():
            groups_of.setdefault(row, []).append(group)
    held = sorted(groups_of)
    predicted = [held[index] for index in chosen([ids[row] for row in held], PREDICTED, "kernel")]
    without = [groups_of[row][derive_seed("kernel", ids[row]) % len(groups_of[row])] for row in predicted]
    spread = 2 * float(vectors(samples[predicted], device).var(0, correction=0).sum())
    if spread == 0:
        raise ArtifactError("all grouped training images are identical; check the section data")
    widths = spread * GRID
    return float(widths[errors(samples, images, predicted, [members[k] for k in without], widths, device).argmin()])


def errors(
    samples: Num[Tensor, "n ..."],
    images: Num[Tensor, "n ..."],
    predicted: list[int],
    without: Sequence[Tensor],
    widths: Float[np.ndarray, " w"],
    device: torch.device,
) -> Float[np.ndarray, " w"]:
    """Mean over the images x in the rows `predicted`, for each width h, of || x - sum_a w_a a ||^2.

    w = softmax_a(-||f_x - f_a||^2 / (2 h)) over the images a except those in the rows `without` of each x, which must
    not be all rows; f are the `samples` that the kernel compares, images or features.
    """
    total = torch.zeros(len(widths), dtype=torch.float64, device=device)
    for block in blocks(len(predicted), WEIGHTS // len(images)):
        rows = predicted[block]
        points, x = vectors(samples[rows], device), vectors(images[rows], device)
        one = points.new_ones(len(rows))
        logits = kernel_logits(points, samples, one, one)
        for place, left_out in enumerate(without[block]):
            logits[place, left_out.to(device)] = -torch.inf
        for number, width in enumerate(widths):
            total[number] += (x - weighted_sum((logits / width).softmax(1), images)).square().sum()
    return total.cpu().numpy() / len(predicted)
