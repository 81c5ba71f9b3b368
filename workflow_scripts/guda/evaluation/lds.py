"""Linear datamodeling score (LDS): do sums of a method's scores predict models trained on subsets of the groups?

(Park et al. 2023, TRAK, with groups instead of single images.)
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from guda.core.paths import BASE, Paths
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.group_values import group_values
from guda.evaluation.metrics import spearman
from guda.evaluation.metrics_table import read_score_matrices
from guda.evaluation.retrained import read_elbos
from guda.evaluation.subsets import kept_matrix
from guda.models.health import read_healths, warn_of, worst_of
from guda.specs import LdsSpec

COLUMNS = ["method", "n_queries", "n_subsets", "sizes", "alpha", "lds", "lds_low", "lds_high"]


def lds(scores: np.ndarray, kept: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """LDS of each query, float64 [Q]: Spearman's rho between predicted and true outputs over the M subsets.

    The prediction for a subset is the sum of the `scores` [Q, G] of the groups that it keeps, `kept` bool [M, G];
    `outputs` [Q, M] are those of the model trained on it, higher if it explains the query better. 0 if either is
    constant.
    """
    predictions = np.stack([scores[:, groups].sum(1) for groups in kept], axis=1)
    return spearman(predictions, outputs)


def held_out_lds(value: str, kept: np.ndarray, outputs: np.ndarray, full: np.ndarray) -> np.ndarray:
    """LDS of each query for values computed from the subsets themselves, float64 [Q]: the mean over two halves.

    Each half (every second subset) is predicted from the values computed on the other half; `full` as in
    `group_values`.
    """
    halves = np.arange(len(kept)) % 2 == 0, np.arange(len(kept)) % 2 == 1
    found = [
        lds(group_values(value, outputs[:, fit], kept[fit], full), kept[held_out], outputs[:, held_out])
        for fit, held_out in (halves, halves[::-1])
    ]
    return np.mean(found, axis=0)


def lds_table(
    values: dict[str, np.ndarray], n_subsets: int, sizes: str, alpha: float, n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """One row per method: the mean of its LDS [Q] and its interval over queries."""
    rows = []
    for name, of_query in values.items():
        interval = bootstrap_interval(of_query, n_bootstrap, seed)
        rows.append([name, len(of_query), n_subsets, sizes, alpha, of_query.mean(), *interval])
    return pd.DataFrame(rows, columns=COLUMNS)


def lds_csv(spec: LdsSpec, paths: Paths) -> pd.DataFrame:
    """lds.csv: how well sums of each method's scores predict models of random subsets. Raises ArtifactError."""
    queries, matrices = read_score_matrices(paths.rankings(), spec.rankings)

    def bounds(model: str, digest: str) -> np.ndarray:
        return read_elbos(paths, model, digest, spec.buckets, spec.elbo)[queries].to_numpy()

    kept = kept_matrix(spec.groups, [subset.kept for subset in spec.subsets])
    outputs = np.stack([bounds(subset.model, subset.digest) for subset in spec.subsets], axis=1)
    full = bounds(BASE, spec.base)
    values = {
        name: held_out_lds(name, kept, outputs, full) if name in spec.fitted else lds(matrices[name], kept, outputs)
        for name in spec.methods
    }
    found = read_healths(paths, {BASE: spec.base} | {subset.model: subset.digest for subset in spec.subsets})
    warn_of("lds", found)
    table = lds_table(values, len(kept), spec.sizes, spec.alpha, spec.bootstrap_samples, spec.bootstrap_seed)
    return table.assign(health_worst=worst_of(health.ratio for health in found.values()))
