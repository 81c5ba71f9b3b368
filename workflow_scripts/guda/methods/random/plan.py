"""Random scores: the floor that any method must exceed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from guda.config.section import Section, Seed
from guda.core.paths import Paths
from guda.core.spec import Spec
from guda.methods.method import Method, Needs

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Random(Section):
    seed: Seed = Field(0, description="Random seed of the scores, combined with each query's id and the group.")


class RandomSpec(Spec):
    stage, version = "random", 1
    groups: list[str]
    buckets: dict[str, str]
    seed: int


class RandomScores(Method[RandomSpec]):
    """Uniform scores in [0, 1) that depend only on (seed, query, group)."""

    kind = RandomSpec
    unit = ""

    def spec(self, experiment: Experiment) -> RandomSpec:
        return RandomSpec(
            groups=list(experiment.groups),
            buckets=experiment.bucket_digests(),
            seed=experiment.config.attribution.random.seed,
        )

    def needs(self, spec: RandomSpec, paths: Paths) -> Needs:
        return Needs([paths.queries(bucket) for bucket in spec.buckets])
