"""Scores from the influence of training images on queries, computed per bucket by separate jobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.methods.query_unlearning.plan import InfluenceScoresSpec, QueryUnlearning


def train_ids(method: QueryUnlearning, spec: InfluenceScoresSpec, paths: Paths) -> list[str]:
    """Ids of the sampled training images."""
    return unpack_ids(_read(method, spec, paths, next(iter(spec.influence)))["train_ids"])


def instance_scores(
    method: QueryUnlearning, spec: InfluenceScoresSpec, paths: Paths
) -> Iterator[tuple[list[str], np.ndarray]]:
    """See `InstanceLevel.instance_scores`."""
    for bucket in spec.influence:
        tensors = _read(method, spec, paths, bucket)
        yield unpack_ids(tensors["ids"]), tensors["scores"].astype(np.float64)


def _read(method: QueryUnlearning, spec: InfluenceScoresSpec, paths: Paths, bucket: str) -> dict[str, np.ndarray]:
    return load_tensors(paths.influence(method.name, bucket), spec.influence[bucket], "np")[0]
