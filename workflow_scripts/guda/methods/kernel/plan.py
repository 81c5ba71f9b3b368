"""A training-free counterfactual: what would the base model predict without a group's images near the query?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt

from guda.config.section import Section
from guda.core.errors import ConfigError
from guda.core.paths import BASE, TRAINING, Paths
from guda.core.spec import Spec
from guda.methods.embedding.plan import FeatureSimilarity
from guda.methods.method import Method, Needs
from guda.models.noise_schedule import elbo_steps
from guda.specs import ElboSettings

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

EMBEDDING = FeatureSimilarity("embedding")  # the method whose features are used
WEIGHTS = 2**24  # weights of training images per block: 128 MiB
# Candidate widths of the kernel, relative to the mean squared distance of two images, and images to predict with each.
GRID = 2.0 ** np.arange(-14, 0.5, 0.5)
PREDICTED = 500


class Kernel(Section):
    weights: Literal["pixels", "features", "both"] = Field(
        "both",
        description="Distance that defines near: pixels (latents), features (those of `embedding`, whose `model` and "
        "`step` apply), or both, the mean of the two scores. pixels needs no pass over the training "
        "images.",
    )
    steps: PositiveInt = Field(
        6,
        description="Number of diffusion steps, spaced geometrically from elbo.steps.first to `last`. Later steps add"
        " little but noise.",
    )
    last: PositiveInt | None = Field(
        None, description="Last diffusion step; null: the geometric mean of elbo.steps.first and elbo.steps.last."
    )


class KernelTermsSpec(Spec):
    stage, version = "kernel_terms", 1
    base: str
    images: str  # digest of the training images as network inputs
    samples: str  # digest of the bucket of queries
    members: dict[str, str]  # digest of each group
    elbo: ElboSettings  # with the method's own steps
    pixels: bool  # whether the kernel compares pixels
    features: list[str]  # digests of the features of the training images and of the bucket, if the kernel compares them


class KernelSpec(Spec):
    stage, version = "kernel", 1
    groups: list[str]
    terms: dict[str, str]  # digest of each bucket's terms
    features: dict[
        str, str
    ]  # digest of the features of the training images and each bucket, if the kernel compares them


class KernelCounterfactual(Method[KernelSpec]):
    """Scores by ELBO terms, computed per bucket by jobs of the rule `kernel`."""

    kind = KernelSpec

    def check(self, experiment: Experiment) -> None:
        settings, window = experiment.config.attribution.kernel, experiment.config.elbo.steps
        if settings.last is not None and not window.first <= settings.last <= window.last:
            raise ConfigError(
                f"attribution.kernel.last is {settings.last}, outside the window {window.first} .. {window.last} of "
                "elbo.steps; choose a step within it, or null"
            )
        if settings.weights == "pixels":
            return
        try:
            EMBEDDING.check(experiment)
            EMBEDDING.features_spec(experiment, TRAINING)
        except ConfigError as error:
            raise ConfigError(
                f"{error}; or set attribution.kernel.weights, which is {settings.weights}, to pixels"
            ) from None

    def notes(self, experiment: Experiment) -> list[str]:
        return [] if experiment.config.attribution.kernel.weights == "pixels" else EMBEDDING.notes(experiment)

    def features(self, experiment: Experiment, buckets: list[str]) -> dict[str, str]:
        """Digests of the features of the training images and of buckets of queries, if the kernel compares features."""
        if experiment.config.attribution.kernel.weights == "pixels":
            return {}
        return {name: EMBEDDING.features_spec(experiment, name).digest() for name in (TRAINING, *buckets)}

    def terms_spec(self, experiment: Experiment, bucket: str) -> KernelTermsSpec:
        """Spec of the job that computes a bucket's ELBO terms."""
        settings, window = experiment.config.attribution.kernel, experiment.config.elbo.steps
        last = settings.last or round(math.sqrt(window.first * window.last))
        low = window.model_copy(update={"kind": "geometric", "last": last, "count": settings.steps})
        own = {"steps": elbo_steps(low).tolist(), "first": low.first, "last": low.last}
        return KernelTermsSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            members={group: experiment.group_digest(group) for group in experiment.groups},
            elbo=experiment.elbo_settings.model_copy(update=own),
            pixels=settings.weights != "features",
            features=list(self.features(experiment, [bucket]).values()),
        )

    def spec(self, experiment: Experiment) -> KernelSpec:
        return KernelSpec(
            groups=list(experiment.groups),
            terms={bucket: self.terms_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            features=self.features(experiment, list(experiment.buckets)),
        )

    def needs(self, spec: KernelSpec, paths: Paths) -> Needs:
        features = {paths.features_record(EMBEDDING.name, name): found for name, found in spec.features.items()}
        training = paths.features_record(EMBEDDING.name, TRAINING)
        built = {path: found for path, found in features.items() if path == training}
        terms = {paths.kernel_record(bucket): found for bucket, found in spec.terms.items()}
        per_query = terms | {path: found for path, found in features.items() if path != training}
        return Needs([paths.kernel(bucket) for bucket in spec.terms], built, per_query)
