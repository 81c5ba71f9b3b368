"""Scores drawn at random."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.core.seeding import uniform
from guda.evaluation.scores import Scores
from guda.methods.random.plan import RandomScores, RandomSpec


def scores(method: RandomScores, spec: RandomSpec, paths: Paths) -> Scores:
    """Uniform in [0, 1), determined by (seed, query, group)."""
    queries = []
    for bucket, expected in spec.buckets.items():
        queries += unpack_ids(load_tensors(paths.queries(bucket), expected, "np")[0]["ids"])
    score = [[uniform("random", spec.seed, query, group) for group in spec.groups] for query in queries]
    return Scores(queries, spec.groups, np.array(score))
