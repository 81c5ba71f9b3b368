"""Nearest retained images of every forget image in pixel space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from guda.core.errors import DataError
from guda.core.progress import track

MARGIN = 32  # extra candidates beyond the K nearest
EXACT = 1024  # number of terms up to 2^14 whose sum, 2^24, is exact in float32
FEW = 16


def nearest_retained(images: Tensor, forget: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """The K nearest retained images of each forget image, nearest first.

    `images` uint8 [N, C, H, W]; `forget` bool [N]. Returns rows int64 [F, K] into `images` and Euclidean distances
    float32 [F, K] in the network's range [-1, 1]. Raises DataError if fewer than K images are retained.

    Neighbors, distances and the order of ties equal those of torch's cdist and topk over all retained images. These
    are applied to the candidates of a faster search, and to all images only if ties make the order depend on topk.
    """
    retained = torch.nonzero(~forget).flatten()
    if len(retained) < n_neighbors:
        raise DataError(f"unlearn.n_neighbors is {n_neighbors}, but only {len(retained)} images are retained; lower it")
    rows, distances = [], []
    chunks = torch.nonzero(forget).flatten().split(_rows_at_once(images))
    for members in track(chunks, "chunks of forget images", len(chunks)):
        candidates, unsure = _candidates(images, members, retained, n_neighbors)
        distance = torch.cat([_distances(images, members[[i]], near) for i, near in enumerate(candidates)])
        distance, order = distance.sort()
        unsure |= (distance[:, : n_neighbors + 1].diff() == 0).any(1)
        distance, near = distance[:, :n_neighbors], candidates.gather(1, order[:, :n_neighbors])
        for few in torch.nonzero(unsure).flatten().split(FEW):
            nearest = _distances(images, members[few], retained).topk(n_neighbors, largest=False)
            distance[few], near[few] = nearest.values, retained[nearest.indices]
        rows.append(near)
        distances.append(distance)
    return torch.cat(rows), torch.cat(distances)


def _candidates(images: Tensor, members: Tensor, retained: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """The K + MARGIN retained rows nearest to each member, int64, and whether others may be equally near, bool [F].

    They are found by exact squared distances. cdist's distance differs from the exact one by a factor within 1 +- e,
    e = (1300 + n) 2^-24 for n pixels: scaled pixels are rounded by at most 2^-22, differences are at least 1 / 127.5,
    and a sum of n squares loses n 2^-24. Hence cdist's K nearest are at most (1 + e) / (1 - e) times as far as the
    exact K-th nearest.
    """
    error = (1300 + images[0].numel()) * 2**-24
    count = min(n_neighbors + MARGIN, len(retained))
    squared = torch.full((len(members), count), math.inf, dtype=torch.float64)
    rows = torch.zeros((len(members), count), dtype=torch.int64)
    for block in retained.split(_rows_at_once(images)):
        found = torch.cat([squared, _squared_distances(images[members], images[block])], dim=1)
        squared, order = found.topk(count, largest=False)
        rows = torch.cat([rows, block.expand(len(members), -1)], dim=1).gather(1, order)
    limit = squared[:, n_neighbors - 1] * ((1 + error) / (1 - error)) ** 2
    return rows, squared[:, -1] <= limit


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Exact squared distances of uint8 images [A, C, H, W] from [B, C, H, W], in pixel levels, float64 [A, B]."""
    total = torch.zeros(len(a), len(b), dtype=torch.float64)
    slices = [(pixels.flatten(1).float() - 128).split(EXACT, dim=1) for pixels in (a, b)]
    for x, y in zip(*slices, strict=True):
        total += x.square().sum(1).double()[:, None] + y.square().sum(1).double()
        total -= 2 * (x @ y.T).double()
    return total


def _distances(images: Tensor, members: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances, in the network's range, between images given by their rows, float32 [F, R]."""

    def pixels(rows: Tensor) -> Tensor:
        return images[rows].flatten(1).float() / 127.5

    x, blocks = pixels(members), others.split(_rows_at_once(images))
    return torch.cat([torch.cdist(x, pixels(rows), compute_mode="donot_use_mm_for_euclid_dist") for rows in blocks], 1)


def _rows_at_once(images: Tensor) -> int:
    """Images per chunk: at most 64 MiB of float32."""
    return max(1, min(2048, 2**24 // images[0].numel()))
