"""Scores from the posteriors of a group classifier."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.evaluation.scores import Scores
from guda.methods.classifier.plan import MeanPosterior, MeanPosteriorSpec
from guda.methods.resampling import summarize


def scores(method: MeanPosterior, spec: MeanPosteriorSpec, paths: Paths) -> Scores:
    """A group's score is the unweighted mean of p(group | x_t, t) over the diffusion steps of the ELBO terms."""
    queries, posteriors = [], []
    for bucket in spec.buckets:
        tensors, _ = load_tensors(paths.posteriors(bucket), spec.posteriors_digest(bucket), "np")
        queries += unpack_ids(tensors["ids"])
        posteriors.append(tensors["posteriors"].astype(np.float64))
    terms = np.concatenate(posteriors).transpose(0, 2, 1) / len(spec.elbo.steps)
    return Scores(queries, spec.groups, *summarize(terms))
