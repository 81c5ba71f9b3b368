"""The table of the exemplar test: the rank that each method gives to the group whose images a model was tuned on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from guda.core.artifacts import read_csv
from guda.core.paths import Paths
from guda.core.records import check_recorded
from guda.data.queries import EXEMPLARS_OF
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.metrics import mrr, top1
from guda.evaluation.metrics_table import COSTS, read_costs, read_rankings, score_matrices
from guda.evaluation.ranking import ranks
from guda.specs import ExemplarsSpec

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def found(
    scores: Float[np.ndarray, "q g"], truth: Bool[np.ndarray, "q g"], n_bootstrap: int, seed: int
) -> dict[str, float]:
    """Ranks of the true groups, one per query, under a method's scores.

    `top1` with its 95 % bootstrap interval over queries, `mrr` (mean reciprocal rank) and `mean_rank` (1 is best); at
    chance they are 1 / G, (1 + 1/2 + .. + 1/G) / G and (G + 1) / 2. All are expectations over random tie-breaking.
    """
    wanted = truth.astype(np.float64)
    first = top1(scores, wanted)
    low, high = bootstrap_interval(first, n_bootstrap, seed)
    return {
        "n_queries": len(scores),
        "n_groups": scores.shape[1],
        "top1": float(first.mean()),
        "top1_low": low,
        "top1_high": high,
        "mrr": float(mrr(scores, wanted).mean()),
        "mean_rank": float(ranks(scores)[truth].mean()),
    }


def exemplars_csv(spec: ExemplarsSpec, paths: Paths) -> pd.DataFrame:
    """exemplars.csv: one row per oracle and method, with the cost of its scores. Raises ArtifactError."""
    check_recorded(paths.query_table(), spec.query_table)
    table = read_csv(paths.query_table()).set_index("query")
    rankings = read_rankings(paths.rankings(), spec.rankings)
    queries, matrices = score_matrices(rankings)
    groups = np.array(sorted(rankings["group"].unique()))
    truth = table.loc[queries, EXEMPLARS_OF].to_numpy()[:, None] == groups
    costs = read_costs(spec.rankings, spec.files, paths)
    rows = [
        {"method": name}
        | found(matrices[name], truth, spec.bootstrap_samples, spec.seed)
        | {cost: costs[name][cost] for cost in COSTS}
        for name in spec.methods
    ]
    return pd.DataFrame(rows).astype({"build_evaluations": int, "query_evaluations": int})
