"""Screening of many groups: which are worth unlearning, by the scores of a cheaper method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from guda.core.paths import Paths
from guda.core.seeding import derive_seed
from guda.evaluation.ranking import ranks
from guda.evaluation.scores import read_scores
from guda.specs import ScreenSpec

if TYPE_CHECKING:
    from jaxtyping import Float


def proposed(scores: Float[np.ndarray, "q g"], groups: list[str], count: int) -> pd.DataFrame:
    """The `count` groups (or all, if fewer) that rank highest for some query, one per row.

    Columns: `group`; `best_rank`, its best rank over the queries (1: first for some query); `queries`, the number of
    queries with that rank; `mean_score`. Rows are ordered by best rank, then by number of queries, then by mean score:
    each query's first group is proposed before any query's second. Remaining ties are broken by a hash of the names.
    """
    rank = ranks(scores)
    best = rank.min(axis=0)
    table = pd.DataFrame(
        {
            "group": groups,
            "best_rank": best,
            "queries": (rank == best).sum(axis=0),
            "mean_score": scores.mean(axis=0),
            "tie": [derive_seed("tie", "screen", group) for group in groups],
        }
    )
    by = ["best_rank", "queries", "mean_score", "tie"]
    return table.sort_values(by, ascending=[True, False, False, True]).head(count).drop(columns="tie")


def screen_csv(spec: ScreenSpec, paths: Paths) -> pd.DataFrame:
    """screen.csv: the groups that the method proposes. Raises ArtifactError."""
    scores = read_scores(paths.scores(spec.settings.method), spec.scores)
    return proposed(scores.score, scores.groups, spec.settings.groups)
