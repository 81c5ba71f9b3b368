"""Every measure of a method's agreement with an oracle, as a row of a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

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

# Column name -> per-query metric whose mean is reported, in the order of the report; top1 has an interval beside it.
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
# The same of what is measured over all images at once, of what needs the decisive ones, or the relevant groups.
OVERALL = {
    "top1_balanced": top1_balanced,
    "kappa": kappa,
    "effect_spearman": effect_spearman,
    "contrast_spearman": contrast_spearman,
    "margin_spearman": margin_spearman,
}
OF_DECISIVE = {"decisive_auroc": decisive_auroc, "decisive_auroc_margin": decisive_auroc_margin}
OF_RELEVANT = {"lrap": lrap, "average_precision": average_precision}


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

    Which images are `decisive`, and which groups `relevant`, is what the functions of these names say.
    top1_low and top1_high bound top1 at 95 % by a bootstrap over images, seeded by `seed`.
    """
    scores, oracle = pair_of(scores, oracle)
    low, high = bootstrap_interval(top1(scores, oracle), n_bootstrap, seed)
    means = {name: float(metric(scores, oracle).mean()) for name, metric in AVERAGED.items()}
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
    """Mean of `agreement` rows of the same images and groups, as against several oracle seeds.

    NaN in a row stays NaN in the mean.  The bounds of top1 are averaged too: a typical interval, not
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
