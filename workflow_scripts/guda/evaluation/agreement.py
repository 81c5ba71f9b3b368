"""All measures of a method's agreement with an oracle, as a table row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from guda.core.artifacts import ROWS
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.effects import contrast_spearman, effect_spearman, margin_spearman, size_ratio
from guda.evaluation.metrics import (
    kappa,
    kendall,
    mrr,
    ndcg_exp,
    ndcg_lin,
    pair_of,
    rbo,
    rbo_raw,
    spearman,
    top1,
    top1_balanced,
    top3,
    wpra,
)
from guda.evaluation.relevance import average_precision, decisive_auroc, decisive_auroc_margin, lrap

# Column name -> per-query metric whose mean is reported, in report order; top1 is followed by its interval.
AVERAGED = {
    "top1": top1,
    "top3": top3,
    "ndcg_exp@3": ndcg_exp,
    "ndcg_lin@3": ndcg_lin,
    "mrr": mrr,
    "rbo": rbo,
    "rbo_raw": rbo_raw,
    "wpra@3": wpra,
    "spearman": spearman,
    "kendall": kendall,
}
# Metrics over all images jointly, metrics of decisive images, and metrics of relevant groups.
OVERALL = {
    "top1_balanced": top1_balanced,
    "kappa": kappa,
    "effect_spearman": effect_spearman,
    "contrast_spearman": contrast_spearman,
    "margin_spearman": margin_spearman,
}
OF_DECISIVE = {"decisive_auroc": decisive_auroc, "decisive_auroc_margin": decisive_auroc_margin}
OF_RELEVANT = {"lrap": lrap, "average_precision": average_precision}


def by_query(scores: np.ndarray, oracle: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric of AVERAGED of each query: [Q, G] x2 -> [Q] by name. Some queries at a time, ranked once for all."""
    # By whole multiples of 64, so that rows of matrix products are summed in the same order as in one block.
    at_once = 64 * max(1, ROWS // (64 * scores.shape[1]))
    blocks = []
    for start in range(0, len(scores), at_once):
        pair = pair_of(scores[start : start + at_once], oracle[start : start + at_once])
        blocks.append([metric(*pair) for metric in AVERAGED.values()])
    return dict(zip(AVERAGED, np.concatenate(blocks, axis=1), strict=True))


def agreement(
    scores: ArrayLike,
    oracle: ArrayLike,
    is_decisive: ArrayLike,
    is_relevant: ArrayLike,
    *,
    n_bootstrap: int,
    seed: int,
) -> dict[str, float]:
    """Every metric of a method against one oracle: [Q, G] x2, bool [Q], bool [Q, G] -> dict of floats.

    See the functions `decisive` and `relevant` for the masks.
    top1_low and top1_high are the 95 % bootstrap interval of top1 over images, with random seed `seed`.
    """
    scores, oracle = (each.scores for each in pair_of(scores, oracle))
    of_queries = by_query(scores, oracle)
    low, high = bootstrap_interval(of_queries["top1"], n_bootstrap, seed)
    means = {name: float(values.mean()) for name, values in of_queries.items()}
    return {
        "n_queries": scores.shape[0],
        "n_groups": scores.shape[1],
        "top1": means.pop("top1"),
        "top1_low": low,
        "top1_high": high,
        **means,
        **{name: metric(scores, oracle) for name, metric in OVERALL.items()},
        **{name: metric(scores, is_decisive) for name, metric in OF_DECISIVE.items()},
        **{name: metric(scores, is_relevant) for name, metric in OF_RELEVANT.items()},
        "size_ratio": size_ratio(scores, oracle),
    }


def mean_agreement(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of `agreement` rows of the same images and groups, such as those against several oracle seeds.

    NaN propagates to the mean. The bounds of top1 are averaged too, which gives a typical interval, not
    an interval of the mean.
    """
    counts = {(row["n_queries"], row["n_groups"]) for row in rows}
    if len(counts) != 1:
        raise ValueError(f"rows must share one (n_queries, n_groups), found {sorted(counts)}")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError(f"rows must share their keys, found {[list(row) for row in rows]}")
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    n_queries, n_groups = counts.pop()
    return mean | {"n_queries": n_queries, "n_groups": n_groups}
