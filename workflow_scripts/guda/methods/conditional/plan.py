"""Under which group is the image likeliest, and which group is it likely of? By one network conditioned on the group.

conditional_elbo: score_k(x) = ELBO(x | k) - ELBO(x), both of the group-conditional network: an estimate of
log p(x | k) / p(x). The second term, where the network is told no group, is the same for all k.
conditional_posterior: score_k(x) = log p(k | x) by Bayes' rule, from the same bounds and the groups' sizes.
"""

from __future__ import annotations

from dataclasses import replace
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


class ConditionalPosteriorSpec(LikelihoodRatioSpec):
    stage, version = "conditional_posterior", 1
    members: dict[str, str]  # digest of each group, whose size is in the prior


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


class LogPosterior(LikelihoodRatio):
    """Scores by the posterior of the groups: the same terms, with the prior that training drew the groups by."""

    kind = ConditionalPosteriorSpec
    computed_by = "log_posteriors"

    def spec(self, experiment: Experiment) -> ConditionalPosteriorSpec:
        members = {group: experiment.group_digest(group) for group in experiment.labels}
        return ConditionalPosteriorSpec(**dict(super().spec(experiment)), members=members)

    def needs(self, spec: ConditionalPosteriorSpec, paths: Paths) -> Needs:
        needs = super().needs(spec, paths)
        return replace(needs, files=[*needs.files, *map(paths.group, spec.members)])
