"""Random scores: the floor that any method has to leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.core.seeding import uniform
from guda.evaluation.scores import Scores
from guda.methods.method import Needs
from guda.specs import RandomSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Random:
    """Uniform scores in [0, 1) that depend on (seed, query, group) alone."""

    def spec(self, experiment: Experiment) -> RandomSpec:
        return RandomSpec(
            groups=list(experiment.groups),
            buckets=experiment.bucket_digests(),
            seed=experiment.config.attribution.random.seed,
        )

    def parse(self, text: str) -> RandomSpec:
        return RandomSpec.parse(text)

    def needs(self, spec: RandomSpec, paths: Paths) -> Needs:
        return Needs([paths.queries(bucket) for bucket in spec.buckets])

    def scores(self, spec: RandomSpec, paths: Paths) -> Scores:
        queries = []
        for bucket, expected in spec.buckets.items():
            queries += unpack_ids(load_tensors(paths.queries(bucket), expected, "np")[0]["ids"])
        score = [[uniform("random", spec.seed, query, group) for group in spec.groups] for query in queries]
        return Scores(queries, spec.groups, np.array(score))
