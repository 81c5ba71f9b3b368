"""Scores from the ELBO terms of the mixture without each group."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.evaluation.scores import Scores
from guda.methods.mixture.plan import Mixture, MixtureSpec
from guda.methods.resampling import summarize
from guda.models.noise_schedule import step_weights


def scores(method: Mixture, spec: MixtureSpec, paths: Paths) -> Scores:
    """ELBO(x; mixture) - ELBO(x; mixture without k)."""
    queries, differences = [], []
    for bucket in spec.buckets:
        tensors, _ = load_tensors(paths.mixture(bucket), spec.terms(bucket).digest(), "np")
        queries += unpack_ids(tensors["ids"])
        differences.append(tensors["kl_differences"].astype(np.float64))
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)
    terms = np.concatenate(differences).transpose(0, 2, 1) * weights
    return Scores(queries, spec.groups, *summarize(terms))
