"""Significance of differences between methods' agreement with the oracle, by a paired bootstrap over queries.

A resample is a row of weights: how often each query was drawn. All methods share the resamples, so the difficulty of a
query for all methods cancels in their difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from guda.core.paths import Paths
from guda.evaluation.agreement import AVERAGED, OF_DECISIVE, OVERALL, by_query
from guda.evaluation.bootstrap import resamples
from guda.evaluation.effects import contrast, level, margin
from guda.evaluation.metrics import first_shares, weighted_kappa, weighted_top1_balanced
from guda.evaluation.metrics_table import CEILING, read_score_matrices
from guda.evaluation.relevance import decisive
from guda.specs import SignificanceSpec

COLUMNS = ["method", "reference", "metric", "difference", "low", "high", "p", "p_holm", "n_queries"]
METRICS = [*AVERAGED, *OVERALL, *OF_DECISIVE]
SIZES = [level, contrast, margin]  # effect sizes that are correlated over queries
AT_ONCE = 256  # resamples in memory
LEVEL = 0.95


def significance_table(
    matrices: dict[str, np.ndarray],
    oracles: list[str],
    methods: list[str],
    n_bootstrap: int,
    seed: int,
    decisive_ratio: float,
) -> pd.DataFrame:
    """Each method's agreement with the first oracle minus the first method's, with one row per method and metric.

    `matrices` holds scores [Q, G] by name. `low` and `high` are the 95 % percentile interval of the difference, `p` is
    two-sided (see `p_value`), and `p_holm` adjusts it for the number of methods compared by one metric. The row
    `ceiling`, present with at least two oracles, is the mean agreement of the other oracles with the first. AUROC of
    decisive queries is undefined on resamples without both kinds of queries, which are ignored.
    """
    others = oracles[1:]
    is_decisive = decisive([matrices[name] for name in oracles], decisive_ratio)
    agreement = resampled_agreement(
        {name: matrices[name] for name in [*methods, *others]}, matrices[oracles[0]], is_decisive, n_bootstrap, seed
    )
    compared = {name: agreement[name] for name in methods[1:]}
    if others:
        compared[CEILING] = np.mean([agreement[name] for name in others], axis=0)
    # Rounded, so that equal sums of thirds have a difference of exactly zero.
    differences = {name: np.round(values - agreement[methods[0]], 12) for name, values in compared.items()}
    p = np.array([p_value(column) for values in differences.values() for column in values[1:].T])
    p = p.reshape(len(compared), len(METRICS))
    adjusted = np.stack([holm(column) for column in p.T], axis=1)
    rows = []
    for row, (name, values) in enumerate(differences.items()):
        for column, metric in enumerate(METRICS):
            found = [values[0, column], *interval(values[1:, column]), p[row, column], adjusted[row, column]]
            rows.append([name, methods[0], metric, *found, len(is_decisive)])
    return pd.DataFrame(rows, columns=COLUMNS)


def resampled_agreement(
    scores: dict[str, np.ndarray], oracle: np.ndarray, is_decisive: np.ndarray, n_bootstrap: int, seed: int
) -> dict[str, np.ndarray]:
    """Each method's agreement with the oracle for every metric of METRICS, on the queries and on each resample.

    `scores` [Q, G] by name, `oracle` [Q, G], `is_decisive` bool [Q] -> float64 [1 + n_bootstrap, len(METRICS)] by name,
    where row 0 is without resampling.
    """
    per_query = {name: np.stack([*by_query(matrix, oracle).values()], axis=1) for name, matrix in scores.items()}
    wanted, first = first_shares(oracle), {name: first_shares(matrix) for name, matrix in scores.items()}
    parts: dict[str, list[Any]] = {name: [] for name in scores}
    for weights in _weights(len(oracle), n_bootstrap, seed):
        oracle_ranks = [weighted_ranks(size(oracle), weights) for size in SIZES]
        for name, matrix in scores.items():
            ranks = [weighted_ranks(size(matrix), weights) for size in SIZES]
            columns = [
                weights @ per_query[name] / len(oracle),
                weighted_top1_balanced(first[name], wanted, weights),
                weighted_kappa(first[name], wanted, weights),
                *(_weighted_correlation(*pair, weights) for pair in zip(ranks, oracle_ranks, strict=True)),
                *(_weighted_auroc(ranks[SIZES.index(size)], is_decisive, weights) for size in (level, margin)),
            ]
            parts[name].append(np.column_stack(columns))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks of values [Q], where value q occurs weights[b, q] times in resample b: float64 [B, Q]."""
    distinct, place = np.unique(values, return_inverse=True)
    in_order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[in_order], np.arange(len(distinct)))
    tied = np.add.reduceat(weights[:, in_order], starts, axis=1)
    return (np.cumsum(tied, axis=1) - (tied - 1) / 2)[:, place]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Percentile interval of resampled differences [B] at LEVEL, ignoring NaN."""
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def p_value(differences: np.ndarray) -> float:
    """Two-sided p-value of no difference, from resampled differences [B], ignoring NaN.

    Twice the share of resamples on the rarer side of zero, counting the observed data as one of them, so never below
    2 / (1 + B). Below 0.05 approximately when the 95 % percentile interval excludes zero.
    """
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return float("nan")
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (1 + rarer) / (1 + len(differences)))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values [M] adjusted for M comparisons (Holm 1979), which controls the family-wise error rate; ignores NaN."""
    adjusted, tested = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    ascending = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(ascending), 0, -1)
    adjusted[ascending] = np.minimum(1, np.maximum.accumulate(factors * p[ascending]))
    return adjusted


def _weights(n: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n queries is drawn, float64 [at most AT_ONCE, n]: first once each, then in every resample."""
    block = [np.ones(n)]
    for rows in resamples(n, n_bootstrap, seed):
        block.append(np.bincount(rows, minlength=n).astype(np.float64))
        if len(block) == AT_ONCE:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _weighted_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho of two sets of ranks [B, Q] of weighted queries, [B]; 0 if either is constant."""
    # Average ranks of n values have mean (n+1)/2, with or without ties.
    mean = (weights.sum(axis=1, keepdims=True) + 1) / 2
    a, b = a - mean, b - mean
    norm = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return np.divide((weights * a * b).sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0)


def _weighted_auroc(ranks: np.ndarray, is_decisive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of decisive queries among weighted queries, [B], from score ranks [B, Q]; NaN without both kinds."""
    positive = weights[:, is_decisive].sum(axis=1)
    negative = weights.sum(axis=1) - positive
    rank_sum = (weights[:, is_decisive] * ranks[:, is_decisive]).sum(axis=1)
    pairs = positive * negative
    return np.divide(rank_sum - positive * (positive + 1) / 2, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def significance_csv(spec: SignificanceSpec, paths: Paths) -> pd.DataFrame:
    """significance.csv: every method's agreement with the oracle against the first method's. Raises ArtifactError."""
    _, matrices = read_score_matrices(paths.rankings(), spec.rankings)
    return significance_table(
        matrices, spec.oracles, spec.methods, spec.bootstrap_samples, spec.seed, spec.decisive_ratio
    )
