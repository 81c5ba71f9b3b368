"""Similarity of images in pixel space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.methods.similarity.plan import NearestSpec, PixelSimilarity

CHUNK = 256
SIMILARITIES = 2**24  # similarities per block: 128 MiB
PIXELS = 2**22  # pixel values per block: 32 MiB


def instance_scores(method: PixelSimilarity, spec: NearestSpec, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
    """See `InstanceLevel.instance_scores`."""
    training, _ = load_tensors(paths.images(), spec.images, "np")
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        ids, done = unpack_ids(tensors["ids"]), 0
        for chunk in np.array_split(tensors["images"], -(-len(ids) // CHUNK)):
            for similar in similarities(chunk, training["images"], spec.settings.similarity):
                yield ids[done : done + len(similar)], similar
                done += len(similar)


def similarities(queries: np.ndarray, images: np.ndarray, kind: str) -> Iterator[np.ndarray]:
    """`similarity` for blocks of queries, float64 [q, N]."""
    for block in _blocks(len(queries), SIMILARITIES // len(images), 8):
        yield similarity(queries[block], images, kind)


def similarity(queries: np.ndarray, images: np.ndarray, kind: str) -> np.ndarray:
    """Similarity of uint8 images [Q, C, H, W] to [N, C, H, W], float64 [Q, N], with pixels scaled to [-1, 1].

    'cosine', or 'euclidean' (negative distance).
    """
    q = queries.reshape(len(queries), -1) / 127.5 - 1
    similar = np.empty((len(queries), len(images)))
    for block in _blocks(len(images), PIXELS // q.shape[1], 192):
        x = images[block].reshape(-1, q.shape[1]) / 127.5 - 1
        if kind == "cosine":
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            similar[:, block] = (q / np.linalg.norm(q, axis=1, keepdims=True)) @ x.T
        else:
            squared = (q**2).sum(1)[:, None] + (x**2).sum(1) - 2 * q @ x.T
            similar[:, block] = -np.sqrt(squared.clip(min=0))
    return similar


def _blocks(length: int, size: int, multiple: int) -> list[slice]:
    """Slices that cover `length`: each as long as the largest multiple up to `size`, and the last with the rest.

    Matrix products are then rounded identically with and without blocks: no block starts within the rows that a BLAS
    kernel processes together, and none has so few rows (less than the multiple) that another kernel is used.
    """
    size = max(1, size // multiple) * multiple
    starts = range(0, max(1, length - multiple + 1), size)
    return [slice(start, length if start == starts[-1] else start + size) for start in starts]
