"""From a score matrix to the ranking of training groups for each query.

A score matrix is [n_queries, n_groups]; a higher score means a more influential group.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def finite_matrix(values: ArrayLike, name: str = "scores") -> np.ndarray:
    """`values` as float64 [Q, G] with Q, G >= 1 and every entry finite, else ValueError."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a non-empty [queries, groups] matrix, found shape {matrix.shape}")
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        query, group = bad[0]
        raise ValueError(
            f"{name} must be finite, found {len(bad)} NaN or infinite entries,"
            f" the first being {matrix[query, group]} at query {query}, group {group}"
        )
    return matrix


def order(scores: ArrayLike) -> np.ndarray:
    """Group indices from the highest to the lowest score: [Q, G] -> int [Q, G].

    Tied groups keep their column order, so that every metric sees one and the same total order.
    """
    return np.argsort(-finite_matrix(scores), axis=1, kind="stable")


def ranks(scores: ArrayLike) -> np.ndarray:
    """Rank of every group, 1 for the first: [Q, G] -> int [Q, G], the inverse of `order`."""
    return np.argsort(order(scores), axis=1) + 1


def rankings_frame(
    method: str,
    queries: Sequence[str],
    groups: Sequence[str],
    score: ArrayLike,
    se: ArrayLike | None,
    p_top1: ArrayLike | None,
) -> pd.DataFrame:
    """One row per (query, rank): the long table of a method's rankings.

    queries: Q names; groups: G names; score [Q, G].  se (standard error of the score) and p_top1
    (probability that the group is first) are [Q, G], or None where the method has none (NaN column).
    Rows follow the order of `queries`, then the rank.
    """
    by_rank = order(score)
    shape = by_rank.shape
    queries, groups = np.asarray(queries), np.asarray(groups)
    if (queries.shape, groups.shape) != (shape[:1], shape[1:]):
        raise ValueError(f"score is {shape}, but queries are {queries.shape} and groups {groups.shape}")

    def column(values, name):
        values = np.full(shape, np.nan) if values is None else np.asarray(values, dtype=np.float64)
        if values.shape != shape:
            raise ValueError(f"{name} must have the shape of score {shape}, found {values.shape}")
        return np.take_along_axis(values, by_rank, axis=1).ravel()

    return pd.DataFrame(
        {
            "method": method,
            "query": np.repeat(queries, shape[1]),
            "rank": np.tile(np.arange(1, shape[1] + 1), shape[0]),
            "group": groups[by_rank.ravel()],
            "score": column(score, "score"),
            "se": column(se, "se"),
            "p_top1": column(p_top1, "p_top1"),
        }
    )
