"""Similarity in pixel space, the baseline that needs no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from guda.core.paths import Paths
from guda.methods.instance import Aggregation, Similarity, SimilaritySpec
from guda.methods.method import Needs

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Nearest(Aggregation):
    similarity: Literal["euclidean", "cosine"] = Field("euclidean", description="euclidean or cosine.")


class NearestSpec(SimilaritySpec):
    stage, version = "nearest", 1
    buckets: dict[str, str]
    settings: Nearest


class PixelSimilarity(Similarity[NearestSpec]):
    """A training image's score is its similarity to the query."""

    kind = NearestSpec

    def spec(self, experiment: Experiment) -> NearestSpec:
        return NearestSpec(
            images=experiment.images_digest,
            members={group: experiment.group_digest(group) for group in experiment.groups},
            buckets=experiment.bucket_digests(),
            settings=experiment.config.attribution.nearest,
        )

    def needs(self, spec: NearestSpec, paths: Paths) -> Needs:
        return Needs([paths.images(), *map(paths.group, spec.members), *map(paths.queries, spec.buckets)])


class PixelSimilarityVariant(PixelSimilarity):
    """A variant with other settings, from the section `sweep`."""

    def spec(self, experiment: Experiment) -> NearestSpec:
        spec = super().spec(experiment)
        settings = spec.settings.model_copy(update=experiment.variants[self.name].nearest)
        return spec.model_copy(update={"settings": settings})
