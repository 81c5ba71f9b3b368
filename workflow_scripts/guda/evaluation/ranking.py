"""Rankings of training groups for each query, from a score matrix.

A score matrix is [n_queries, n_groups]; a higher score means a more influential group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, DTypeLike

from guda.core.artifacts import ROWS
from guda.core.paths import Paths
from guda.core.seeding import derive_seed
from guda.evaluation.scores import NUMBERS, read_scores
from guda.specs import RankingsSpec

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def finite_matrix(values: ArrayLike, name: str = "scores") -> Float[np.ndarray, "q g"]:
    """`values` as float64 [Q, G]. Raises ValueError unless Q, G >= 1 and every entry is finite."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a non-empty [queries, groups] matrix, found shape {matrix.shape}")
    finite = np.isfinite(matrix)
    if not finite.all():
        bad = np.argwhere(~finite)
        query, group = bad[0]
        raise ValueError(
            f"{name} must be finite, found {len(bad)} NaN or infinite entries,"
            f" the first being {matrix[query, group]} at query {query}, group {group}"
        )
    return matrix


class Ranked:
    """Scores [Q, G], sorted once for all metrics that use their ranking; numpy functions accept it as the array.

    `order`, `places` and `ranks` are documented at the functions of these names.
    """

    def __init__(self, scores: ArrayLike, name: str = "scores") -> None:
        self.scores = finite_matrix(scores, name)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return self.scores

    @cached_property
    def order(self) -> np.ndarray:
        return np.argsort(-self.scores, axis=1, kind="stable")

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        falling = np.take_along_axis(self.scores, self.order, axis=1)
        starts = np.ones(falling.shape, dtype=bool)
        starts[:, 1:] = falling[:, 1:] != falling[:, :-1]
        first = np.flatnonzero(starts)  # every row starts one, so runs of tied groups do not cross rows
        lengths = np.diff(first, append=starts.size)
        above, tied = np.empty((2, *falling.shape), dtype=np.int64)
        for found, runs in ((above, first % falling.shape[1]), (tied, lengths)):
            np.put_along_axis(found, self.order, np.repeat(runs, lengths).reshape(falling.shape), axis=1)
        return above, tied

    @cached_property
    def ranks(self) -> np.ndarray:
        above, tied = self.places
        return above + (tied + 1) / 2


def order(scores: ArrayLike) -> Int[np.ndarray, "q g"]:
    """Group indices from the highest to the lowest score: [Q, G] -> int [Q, G]. Tied groups keep column order.

    Only for the layout of tables; metrics use `places`, which treats tied groups equally.
    """
    return Ranked(scores).order


def places(scores: ArrayLike) -> tuple[Int[np.ndarray, "q g"], Int[np.ndarray, "q g"]]:
    """The possible places of each group in the ranking: [Q, G] -> (above, tied), both int [Q, G].

    `above` groups have a higher score, and `tied` groups, including itself, the same score. With random tie-breaking,
    the group takes each of the places above + 1 .. above + tied with equal probability.
    """
    return Ranked(scores).places


def ranks(scores: ArrayLike) -> Float[np.ndarray, "q g"]:
    """Rank of every group, 1 for the first; tied groups have their mean place: [Q, G] -> float64 [Q, G]."""
    return Ranked(scores).ranks


def first_rows(scores: ArrayLike, names: Sequence[str], count: int, *parts: str | int) -> list[int]:
    """The rows of the `count` highest scores [N] (or of all, if fewer), highest first.

    Ties are broken by a hash of (parts, name), so that neither row order nor alphabetical order matters.
    """
    scores = np.asarray(scores, dtype=np.float64)
    count = min(count, len(scores))
    least = -np.partition(-scores, count - 1)[count - 1]
    among = np.flatnonzero(scores >= least).tolist()
    return sorted(among, key=lambda row: (-scores[row], derive_seed("tie", *parts, names[row])))[:count]


def first_groups(rankings: pd.DataFrame, method: str, queries: Sequence[str], count: int) -> dict[str, list[str]]:
    """The top `count` groups of each query by a method, from the table of rankings.csv.

    Ties are broken by a hash of (query, group).
    """
    by_query = rankings[(rankings["method"] == method) & rankings["query"].isin(list(queries))].groupby("query")
    found = {}
    for query in queries:
        rows = by_query.get_group(query)
        groups = list(rows["group"])
        found[query] = [groups[row] for row in first_rows(rows["score"], groups, count, query)]
    return found


def rankings_frame(
    method: str,
    queries: Sequence[str],
    groups: Sequence[str],
    score: ArrayLike,
    se: ArrayLike | None,
    p_top1_scoring: ArrayLike | None = None,
    p_top1: ArrayLike | None = None,
    p_none: ArrayLike | None = None,
) -> pd.DataFrame:
    """The long table of a method's rankings, with one row per (query, group).

    queries: Q names; groups: G names; score [Q, G].  se (standard error of the score), p_top1_scoring
    and p_top1 (probability that the group is first with other scoring noise, and in another run) and p_none (small
    for a group that stands out) are [Q, G], or None if the method has none (NaN column).
    Rows are ordered by `queries`, then by rank (1 for the first; tied groups have their mean place), then by `groups`.
    Integral ranks are int, so that they are written without a decimal point.
    """
    ranked = Ranked(score)
    by_rank, shape = ranked.order, ranked.scores.shape
    query_names, group_names = np.asarray(queries), np.asarray(groups)
    if (query_names.shape, group_names.shape) != (shape[:1], shape[1:]):
        raise ValueError(f"score is {shape}, but queries are {query_names.shape} and groups {group_names.shape}")

    def column(values: ArrayLike | None, name: str) -> np.ndarray:
        found = np.full(shape, np.nan) if values is None else np.asarray(values, dtype=np.float64)
        if found.shape != shape:
            raise ValueError(f"{name} must have the shape of score {shape}, found {found.shape}")
        return np.take_along_axis(found, by_rank, axis=1).ravel()

    rank = column(ranked.ranks, "rank")
    whole = rank % 1 == 0
    if whole.all():
        rank = rank.astype(np.int64)
    else:
        mixed = [int(value) if integral else value for value, integral in zip(rank, whole, strict=True)]
        rank = np.array(mixed, dtype=object)
    return pd.DataFrame(
        {
            "method": method,
            "query": np.repeat(query_names, shape[1]),
            "rank": rank,
            "group": group_names[by_rank.ravel()],
            "score": column(score, "score"),
            "se": column(se, "se"),
            "p_top1_scoring": column(p_top1_scoring, "p_top1_scoring"),
            "p_top1": column(p_top1, "p_top1"),
            "p_none": column(p_none, "p_none"),
        }
    )


def rankings_csv(spec: RankingsSpec, paths: Paths) -> Iterator[pd.DataFrame]:
    """rankings.csv: the groups of every query ranked by every method, in chunks of queries. Raises ArtifactError."""
    for name, file in spec.files.items():
        scores = read_scores(paths.scores(file), spec.scores[name])
        numbers = [getattr(scores, number) for number in NUMBERS if number != "score"]
        at_once = max(1, ROWS // len(scores.groups))
        for start in range(0, len(scores.queries), at_once):
            some = slice(start, start + at_once)
            others = (None if values is None else values[some] for values in numbers)
            yield rankings_frame(name, scores.queries[some], scores.groups, scores.score[some], *others)
