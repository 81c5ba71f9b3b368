"""Likelihood ratios and posteriors of groups, from one network conditioned on the group.

conditional_elbo: score_k(x) = ELBO(x | k) - ELBO(x), both of the group-conditional network: an estimate of
log p(x | k) / p(x). The second term, with the null condition, is the same for all k.
conditional_posterior: score_k(x) = log p(k | x) by Bayes' rule, from the same ELBOs and the groups' sizes.
A text-to-image model needs no extra network: it is conditioned on a prompt that names the group, or on the empty one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from guda.config.prompts import DESCRIPTORS, placeholders
from guda.config.section import Fraction, Section
from guda.core.errors import ConfigError
from guda.core.paths import BASE, CONDITIONAL, Paths, conditioned_model
from guda.core.spec import Spec, parse_any
from guda.methods.method import Method, Needs
from guda.specs import ConditionalElboSpec, ElboSettings, ElboSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Conditional(Section):
    training: dict[str, Any] = Field(
        {}, description="Trained like the base model, except for these keys of `training`, as in {steps: 3000}."
    )
    label_dropout: Fraction = Field(
        0.1,
        description="Fraction of training samples whose group is dropped. A higher value improves the unconditional "
        "predictions, a lower one the conditional.",
    )


class LikelihoodRatioSpec(Spec):
    stage, version = "likelihood_ratio", 2
    network: ClassVar[str] = CONDITIONAL  # name under models/ of the network conditioned on the group
    elbo: ElboSettings
    model: str
    groups: list[str]  # in the order of the labels
    buckets: dict[str, str]

    def elbo_digests(self, bucket: str) -> list[str]:
        """Digests of the specs of a bucket's ELBO terms: without a condition, then for each group."""
        values = {"model": self.model, "samples": self.buckets[bucket], "elbo": self.elbo}
        conditioned = [ConditionalElboSpec(**values, label=label) for label in range(len(self.groups))]
        return [job.digest() for job in [ElboSpec(**values), *conditioned]]


class PromptedRatioSpec(LikelihoodRatioSpec):
    stage, version = "prompted_ratio", 1
    network = BASE


class ConditionalPosteriorSpec(LikelihoodRatioSpec):
    stage, version = "conditional_posterior", 1
    members: dict[str, str]  # digest of each group, whose size determines the prior


class PromptedPosteriorSpec(ConditionalPosteriorSpec):
    stage, version = "prompted_posterior", 1
    network = BASE


class LikelihoodRatio(Method[LikelihoodRatioSpec]):
    """Scores by the conditional network's ELBO terms, conditioned on each group in turn."""

    kind: type[LikelihoodRatioSpec] = LikelihoodRatioSpec
    prompted: type[LikelihoodRatioSpec] = PromptedRatioSpec

    def check(self, experiment: Experiment) -> None:
        """Check that prompts can name each group."""
        if experiment.config.text_to_image is None:
            return
        prompts = experiment.config.text_to_image.prompts
        if not {DESCRIPTORS, prompts.style} & set(placeholders(prompts.template)):
            raise ConfigError(
                f"text_to_image.prompts.template: {self.name} conditions the model on prompts that name each group's "
                f"style; put {{{DESCRIPTORS}}} or {{{prompts.style}}} into it"
            )
        for group in experiment.groups:
            if not experiment.fine_tuned.styles_held(group):
                raise ConfigError(
                    f"text_to_image.prompts.style: group {group!r} holds half of the images of no {prompts.style}; "
                    f"{self.name} conditions the model on each group's style, so name the column that defines groups"
                )

    def spec(self, experiment: Experiment) -> LikelihoodRatioSpec:
        kind = self.kind if experiment.config.text_to_image is None else self.prompted
        return kind(**self.fields(experiment))

    def fields(self, experiment: Experiment) -> dict[str, Any]:
        """Fields of the spec, for either kind of models."""
        samples = {bucket: experiment.elbo_samples(CONDITIONAL, bucket) for bucket in experiment.buckets}
        return {
            "elbo": experiment.elbo_settings,
            "model": experiment.model_digest(experiment.weights_of(CONDITIONAL)),
            "groups": list(experiment.labels),
            "buckets": {bucket: experiment.scored_digest(name) for bucket, name in samples.items()},
        }

    def parse(self, text: str) -> LikelihoodRatioSpec:
        return parse_any([self.kind, self.prompted], text)

    def needs(self, spec: LikelihoodRatioSpec, paths: Paths) -> Needs:
        models = [CONDITIONAL, *map(conditioned_model, spec.groups)]
        records = {
            paths.elbo_record(model, bucket): expected
            for bucket in spec.buckets
            for model, expected in zip(models, spec.elbo_digests(bucket), strict=True)
        }
        files = [paths.elbo(model, bucket) for model in models for bucket in spec.buckets]
        record = paths.model_record(spec.network)
        built = {} if spec.network == BASE else {record: spec.model}  # the base model is not built for the method
        return Needs([*files, record], built, records)

    def judged(self, spec: LikelihoodRatioSpec) -> dict[str, str]:
        return {spec.network: spec.model}


class LogPosterior(LikelihoodRatio):
    """Scores by the posterior of the groups: the same terms, with the groups' training frequencies as the prior."""

    kind, prompted = ConditionalPosteriorSpec, PromptedPosteriorSpec
    computed_by = "log_posteriors"

    def fields(self, experiment: Experiment) -> dict[str, Any]:
        members = {group: experiment.group_digest(group) for group in experiment.labels}
        return super().fields(experiment) | {"members": members}

    def needs(self, spec: LikelihoodRatioSpec, paths: Paths) -> Needs:
        needs = super().needs(spec, paths)
        return replace(needs, files=[*needs.files, *map(paths.group, spec.groups)])
