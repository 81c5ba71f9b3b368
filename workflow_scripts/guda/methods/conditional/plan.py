"""Under which group is the image likeliest? Likelihood ratios from one network that is conditioned on the group.

score_k(x) = ELBO(x | k) - ELBO(x), both of the group-conditional network: an estimate of log p(x | k) / p(x). The
second term, where the network is told no group, is the same for all k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from guda.config.section import Fraction, Section
from guda.core.paths import CONDITIONAL, Paths, conditioned_model
from guda.core.spec import Spec
from guda.methods.method import Method, Needs
from guda.specs import ConditionalElboSpec, ElboSettings, ElboSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Conditional(Section):
    training: dict[str, Any] = Field(
        {}, description="Keys of the section `training` with the values that this network's training has instead."
    )
    label_dropout: Fraction = Field(
        0.1, description="Share of the training samples whose group is hidden, so that it learns the whole as well."
    )


class LikelihoodRatioSpec(Spec):
    stage, version = "likelihood_ratio", 2
    elbo: ElboSettings
    model: str
    groups: list[str]  # in the order of the labels
    buckets: dict[str, str]

    def elbo_digests(self, bucket: str) -> list[str]:
        """Of the specs of a bucket's likelihood terms: without a condition, then of each group."""
        values = {"model": self.model, "samples": self.buckets[bucket], "elbo": self.elbo}
        conditioned = [ConditionalElboSpec(**values, label=label) for label in range(len(self.groups))]
        return [job.digest() for job in [ElboSpec(**values), *conditioned]]


class LikelihoodRatio(Method[LikelihoodRatioSpec]):
    """Scores by the likelihood terms of the conditional network, conditioned on each group in turn."""

    kind = LikelihoodRatioSpec

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is None

    def spec(self, experiment: Experiment) -> LikelihoodRatioSpec:
        return LikelihoodRatioSpec(
            elbo=experiment.elbo_settings,
            model=experiment.model_digest(CONDITIONAL),
            groups=list(experiment.labels),
            buckets=experiment.bucket_digests(),
        )

    def needs(self, spec: LikelihoodRatioSpec, paths: Paths) -> Needs:
        models = [CONDITIONAL, *map(conditioned_model, spec.groups)]
        records = {
            paths.elbo_record(model, bucket): expected
            for bucket in spec.buckets
            for model, expected in zip(models, spec.elbo_digests(bucket), strict=True)
        }
        files = [paths.elbo(model, bucket) for model in models for bucket in spec.buckets]
        return Needs(files, {paths.model_record(CONDITIONAL): spec.model}, records)

    def judged(self, spec: LikelihoodRatioSpec) -> dict[str, str]:
        return {CONDITIONAL: spec.model}
