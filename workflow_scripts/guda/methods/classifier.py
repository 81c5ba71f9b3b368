"""What does a classifier take the image for? The cheapest rival that has learned the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import CLASSIFIER, Paths
from guda.evaluation.scores import Scores
from guda.methods.counterfactual import summarise
from guda.methods.method import Needs
from guda.specs import MeanPosteriorSpec, PosteriorsSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class MeanPosterior:
    """A group's score is the plain mean of p(group | x_t, t) over the diffusion steps of the likelihood terms."""

    def spec(self, experiment: Experiment) -> MeanPosteriorSpec:
        return MeanPosteriorSpec(
            elbo=experiment.elbo_settings,
            model=experiment.model_digest(CLASSIFIER),
            groups=list(experiment.labels),
            buckets=experiment.bucket_digests(),
        )

    def parse(self, text: str) -> MeanPosteriorSpec:
        return MeanPosteriorSpec.parse(text)

    def needs(self, spec: MeanPosteriorSpec, paths: Paths) -> Needs:
        records = {paths.posteriors_record(bucket): _digest(spec, bucket) for bucket in spec.buckets}
        built = {paths.model_record(CLASSIFIER): spec.model}
        return Needs([paths.posteriors(bucket) for bucket in spec.buckets], built, records)

    def scores(self, spec: MeanPosteriorSpec, paths: Paths) -> Scores:
        queries, posteriors = [], []
        for bucket in spec.buckets:
            tensors, _ = load_tensors(paths.posteriors(bucket), _digest(spec, bucket), "np")
            queries += unpack_ids(tensors["ids"])
            posteriors.append(tensors["posteriors"].astype(np.float64))
        terms = np.concatenate(posteriors).transpose(0, 2, 1) / len(spec.elbo.steps)
        return Scores(queries, spec.groups, *summarise(terms))


def _digest(spec: MeanPosteriorSpec, bucket: str) -> str:
    return PosteriorsSpec(model=spec.model, samples=spec.buckets[bucket], elbo=spec.elbo).digest()
