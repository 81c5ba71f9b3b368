"""Counterfactuals by removing a group from a mixture of groups.

The training distribution is a mixture of its groups, so the ideal denoiser is e(x_t) = sum_k pi_k(x_t) e_k(x_t), with
pi_k(x_t) = p(group k | x_t). Without group k it is e_-k = sum_{j != k} pi_j e_j / (1 - pi_k). One network conditioned
on the group gives all e_k, and one classifier of noisy images gives all pi_k. Then
score_k(x) = ELBO(x; mixture) - ELBO(x; mixture without k).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.core.errors import ConfigError
from guda.core.paths import CLASSIFIER, CONDITIONAL, Paths
from guda.core.spec import Spec
from guda.methods.method import Method, Needs
from guda.specs import ElboSettings

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class MixtureTermsSpec(Spec):
    stage, version = "mixture_terms", 1
    elbo: ElboSettings
    conditional: str
    classifier: str
    samples: str


class MixtureSpec(Spec):
    stage, version = "mixture", 1
    elbo: ElboSettings
    conditional: str
    classifier: str
    groups: list[str]  # in the order of both networks' labels
    buckets: dict[str, str]

    def terms(self, bucket: str) -> MixtureTermsSpec:
        """Spec of a bucket's ELBO terms."""
        networks = {"conditional": self.conditional, "classifier": self.classifier}
        return MixtureTermsSpec(**networks, samples=self.buckets[bucket], elbo=self.elbo)


class Mixture(Method[MixtureSpec]):
    """Scores by the conditional network and the classifier combined, for groups that partition the training images."""

    kind = MixtureSpec

    def applies(self, experiment: Experiment) -> bool:
        """Both networks must see the same noisy image; for text-to-image models one sees latents, the other pixels."""
        return experiment.config.text_to_image is None

    def check(self, experiment: Experiment) -> None:
        """Check that every training image is in exactly one group, so that the data are a mixture of the groups."""
        groups, n_images = experiment.groups.values(), len(experiment.dataset.table)
        n_grouped, n_members = len(set().union(*groups)), sum(map(len, groups))
        if n_grouped < n_images:
            raise ConfigError(
                f"methods: {self.name} models the training images as a mixture of the groups, but "
                f"{n_images - n_grouped} of {n_images} images are in no group; group them all, or use "
                "conditional_posterior instead"
            )
        if n_members > n_grouped:
            raise ConfigError(
                f"methods: {self.name} models the training images as a mixture of the groups, but some are in several "
                f"groups ({n_members} memberships of {n_grouped} images); give groups that do not overlap, or take "
                "conditional_posterior instead"
            )

    def spec(self, experiment: Experiment) -> MixtureSpec:
        return MixtureSpec(
            elbo=experiment.elbo_settings,
            conditional=experiment.model_digest(CONDITIONAL),
            classifier=experiment.model_digest(CLASSIFIER),
            groups=list(experiment.labels),
            buckets=experiment.bucket_digests(),
        )

    def needs(self, spec: MixtureSpec, paths: Paths) -> Needs:
        built = {paths.model_record(name): expected for name, expected in self.judged(spec).items()}
        records = {paths.mixture_record(bucket): spec.terms(bucket).digest() for bucket in spec.buckets}
        return Needs([paths.mixture(bucket) for bucket in spec.buckets], built, records)

    def judged(self, spec: MixtureSpec) -> dict[str, str]:
        return {CONDITIONAL: spec.conditional, CLASSIFIER: spec.classifier}
