"""Scores from the ELBO terms of the base model shifted by the kernel."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import Paths
from guda.evaluation.scores import Scores
from guda.methods.kernel.plan import KernelCounterfactual, KernelSpec
from guda.methods.resampling import summarize


def scores(method: KernelCounterfactual, spec: KernelSpec, paths: Paths) -> Scores:
    """sum_i w_i (KL_i(e_-k) - KL_i(e)) of each query and group."""
    queries, summaries = [], []
    for bucket, expected in spec.terms.items():
        tensors, _ = load_tensors(paths.kernel(bucket), expected, "np")
        queries += unpack_ids(tensors["ids"])
        summaries.append(summarize(tensors["kl"] * tensors["step_weights"]))
    score, se, p_top1_scoring = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
    return Scores(queries, spec.groups, score, se, p_top1_scoring)
