"""Nearest retained images of every forget image, in pixel space."""

from __future__ import annotations

import torch
from torch import Tensor

from guda.errors import DataError

CHUNK = 1024


def nearest_retained(images: Tensor, forget: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """The K nearest retained images of each forget image, nearest first.

    `images` uint8 [N, C, H, W]; `forget` bool [N]. Returns rows int64 [F, K] into `images` and Euclidean distances
    float32 [F, K] in the network's range [-1, 1]. Raises DataError when fewer than K images are retained.
    """
    retained = torch.nonzero(~forget).flatten()
    if len(retained) < n_neighbors:
        raise DataError(f"unlearn.n_neighbors is {n_neighbors}, but only {len(retained)} images are retained; lower it")
    pixels = images.flatten(1).float() / 127.5
    rows, distances = [], []
    for chunk in pixels[forget].split(CHUNK):
        distance = torch.cdist(chunk, pixels[retained], compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.topk(n_neighbors, largest=False)
        rows.append(retained[nearest.indices])
        distances.append(nearest.values)
    return torch.cat(rows), torch.cat(distances)
