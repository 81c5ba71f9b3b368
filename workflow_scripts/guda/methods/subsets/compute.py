"""Scores from each query's ELBO under models trained on subsets of the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.core.paths import BASE, Paths
from guda.core.seeding import derive_seed
from guda.evaluation.group_values import errors, group_values
from guda.evaluation.retrained import read_elbos
from guda.evaluation.scores import Scores
from guda.evaluation.subsets import kept_matrix
from guda.methods.resampling import RESAMPLES, first_shares
from guda.methods.subsets.plan import GroupValues, GroupValuesSpec

if TYPE_CHECKING:
    from jaxtyping import Float


def scores(method: GroupValues, spec: GroupValuesSpec, paths: Paths) -> Scores:
    """Shapley or Banzhaf values; `se` and `p_top1` reflect the variation due to other subsets or training seeds."""
    full = read_elbos(paths, BASE, spec.base, spec.buckets, spec.elbo)
    queries = list(full.index)
    by_model = [read_elbos(paths, name, model, spec.buckets, spec.elbo) for name, model in spec.models.items()]
    outputs = np.stack([elbo[queries] for elbo in by_model], axis=1)
    game = outputs, kept_matrix(spec.groups, [subset.kept for subset in spec.subsets]), full.to_numpy()
    score = group_values(spec.value, *game)
    se, p_top1 = summarize(score, errors(spec.value, *game))
    return Scores(queries, spec.groups, score, se, p_top1=p_top1)


def summarize(
    score: Float[np.ndarray, "q g"], found: Float[np.ndarray, "q g m"]
) -> tuple[Float[np.ndarray, "q g"], Float[np.ndarray, "q g"]]:
    """Standard errors and first-place probabilities of each group, from each of M subsets' contributions to the errors.

    Uses a wild bootstrap over subsets with signs shared by all queries. NaN if an error is unknown.
    """
    if np.isnan(found).any():
        return np.full(score.shape, np.nan), np.full(score.shape, np.nan)
    n_subsets = found.shape[2]
    generator = np.random.default_rng(derive_seed("resampled subsets", n_subsets))
    signs = generator.choice([-1.0, 1.0], size=(n_subsets, RESAMPLES))
    p_top1 = [first_shares(values[:, None] + each @ signs) for values, each in zip(score, found, strict=True)]
    return np.sqrt((found**2).sum(axis=2)), np.array(p_top1)
