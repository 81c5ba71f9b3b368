"""Linear datamodeling score: do a method's scores, added up, predict models trained on subsets of the groups?

(Park et al. 2023, TRAK, with groups in place of single images.)
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from guda import config
from guda.core.paths import BASE, Paths, subset_model
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.metrics import spearman
from guda.evaluation.metrics_table import read_rankings, score_matrices
from guda.evaluation.retrained import read_elbos
from guda.evaluation.subsets import kept_matrix
from guda.models.health import read_healths, warn_of, worst_of
from guda.specs import LdsSpec


def lds(scores: np.ndarray, kept: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """LDS of each query, float64 [Q]: Spearman's rho, over the M subsets, of predicted and true outputs.

    The prediction for a subset is the sum of the `scores` [Q, G] of the groups that it keeps, `kept` bool [M, G];
    `outputs` [Q, M] is what the model trained on it gives, higher for a better explained query. 0 where either is
    constant.
    """
    predictions = np.stack([scores[:, groups].sum(1) for groups in kept], axis=1)
    return spearman(predictions, outputs)


def lds_table(
    matrices: dict[str, np.ndarray],
    kept: np.ndarray,
    outputs: np.ndarray,
    settings: config.Lds,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """One row a method, of `matrices` [Q, G] by name: the mean LDS of the queries and its interval over queries."""
    rows = []
    for name, scores in matrices.items():
        values = lds(scores, kept, outputs)
        low, high = bootstrap_interval(values, n_bootstrap, seed)
        rows.append([name, *outputs.shape, settings.alpha, values.mean(), low, high])
    return pd.DataFrame(rows, columns=["method", "n_queries", "n_subsets", "alpha", "lds", "lds_low", "lds_high"])


def lds_csv(spec: LdsSpec, paths: Paths) -> pd.DataFrame:
    """lds.csv: how well every method's scores, added up, predict models of random subsets. Raises ArtifactError."""
    queries, matrices = score_matrices(read_rankings(paths.rankings(), spec.rankings))
    models = {subset_model(spec.settings.seed, index): model for index, model in enumerate(spec.models)}
    elbos = [read_elbos(paths, name, model, spec.buckets, spec.elbo) for name, model in models.items()]
    found = read_healths(paths, {BASE: spec.base} | models)
    warn_of("lds", found)
    table = lds_table(
        {name: matrices[name] for name in spec.methods},
        kept_matrix(spec.groups, spec.settings),
        np.stack([elbo[queries] for elbo in elbos], axis=1),
        spec.settings,
        spec.bootstrap_samples,
        spec.bootstrap_seed,
    )
    return table.assign(health_worst=worst_of(health.ratio for health in found.values()))
