"""Posteriors of a group classifier: the cheapest baseline that learns the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from guda.config.section import Section
from guda.core.paths import CLASSIFIER, Paths
from guda.core.spec import Spec
from guda.methods.method import Method, Needs
from guda.specs import ElboSettings, PosteriorsSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Classifier(Section):
    training: dict[str, Any] = Field(
        {},
        description="Trained with the same recipe, except for these keys of `training`, as in {learning_rate: 1.0e-3}.",
    )


class MeanPosteriorSpec(Spec):
    stage, version = "mean_posterior", 2
    elbo: ElboSettings
    model: str
    groups: list[str]
    buckets: dict[str, str]

    def posteriors_digest(self, bucket: str) -> str:
        """Digest of the spec of a bucket's posteriors."""
        return PosteriorsSpec(model=self.model, samples=self.buckets[bucket], elbo=self.elbo).digest()


class MeanPosterior(Method[MeanPosteriorSpec]):
    """Scores by the classifier's posteriors on noisy images."""

    kind = MeanPosteriorSpec
    unit = ""

    def check(self, experiment: Experiment) -> None:
        """Check that the section `unet` fits pixels, which the classifier sees even if the base model sees latents."""
        _, height, width = experiment.dataset.image_shape
        experiment.config.unet.check_size(height, width)

    def spec(self, experiment: Experiment) -> MeanPosteriorSpec:
        return MeanPosteriorSpec(
            elbo=experiment.elbo_settings,
            model=experiment.model_digest(CLASSIFIER),
            groups=list(experiment.labels),
            buckets=experiment.bucket_digests(),
        )

    def needs(self, spec: MeanPosteriorSpec, paths: Paths) -> Needs:
        records = {paths.posteriors_record(bucket): spec.posteriors_digest(bucket) for bucket in spec.buckets}
        built = {paths.model_record(CLASSIFIER): spec.model}
        return Needs([paths.posteriors(bucket) for bucket in spec.buckets], built, records)

    def judged(self, spec: MeanPosteriorSpec) -> dict[str, str]:
        return {CLASSIFIER: spec.model}
