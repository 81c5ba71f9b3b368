"""Similarity of images in a network's features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import TRAINING, Paths
from guda.methods.embedding.plan import EmbeddingSpec, FeatureSimilarity

CHUNK = 1024


def instance_scores(
    method: FeatureSimilarity, spec: EmbeddingSpec, paths: Paths
) -> Iterator[tuple[list[str], np.ndarray]]:
    """See `InstanceLevel.instance_scores`."""
    tensors, _ = load_tensors(paths.features(method.name, TRAINING), spec.training, "np")
    training = unit_vectors(tensors["features"])
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.features(method.name, bucket), expected, "np")
        ids, features = unpack_ids(tensors["ids"]), unit_vectors(tensors["features"])
        for start in range(0, len(ids), CHUNK):
            block = slice(start, start + CHUNK)
            yield ids[block], (features[block] @ training.T).astype(np.float64)


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Rows [n, d] scaled to length one; zero rows are unchanged."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
