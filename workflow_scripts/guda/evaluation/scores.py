"""Scores of one method, and score files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guda.core.artifacts import ANEW, DIVERGED, not_finite, read_long_csv
from guda.core.errors import ArtifactError
from guda.core.records import check_recorded

if TYPE_CHECKING:
    import pandas as pd


NAMES = ("method", "query", "group")
NUMBERS = ("score", "se", "p_top1_scoring", "p_top1", "p_none")


@dataclass(frozen=True)
class Scores:
    """Scores of n queries for G groups; higher is more influential.

    All are float64 [n, G]: `score`; `se`, its standard error due to scoring noise; `p_top1_scoring`, the probability
    that the group is first with other scoring noise; `p_top1`, that it is first in another run, which also unlearns
    from another seed; tied groups share first place. `p_none` is a p-value of the hypothesis that no group influenced
    the query, small if this group stands out. All but `score` are None or NaN if a method lacks them. `evaluations` are
    network forwards on one sample, `details` the choices made by the method, for the record.
    Raises FloatingPointError for a non-finite score.
    """

    queries: list[str]
    groups: list[str]
    score: np.ndarray
    se: np.ndarray | None = None
    p_top1_scoring: np.ndarray | None = None
    p_top1: np.ndarray | None = None
    p_none: np.ndarray | None = None
    evaluations: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problem := not_finite(self.score, "score"):
            raise FloatingPointError(f"{problem}. {DIVERGED}")


def scores_frame(scores: Scores) -> pd.DataFrame:
    """One row per query and group: query, group, then the NUMBERS, empty if the method lacks them."""
    import pandas as pd

    n, n_groups = scores.score.shape
    absent = np.full((n, n_groups), np.nan)
    columns = {name: getattr(scores, name) for name in NUMBERS}
    return pd.DataFrame(
        {"query": np.repeat(scores.queries, n_groups), "group": np.tile(scores.groups, n)}
        | {name: (absent if values is None else values).ravel() for name, values in columns.items()}
    )


def read_scores(path: str, spec_digest: str) -> Scores:
    """Read a score file. Raises ArtifactError if it is damaged, has another spec, or contains non-numbers."""
    check_recorded(path, spec_digest)
    frame = read_numbers(path)
    queries, groups = (list(frame[name].unique().astype(object)) for name in ("query", "group"))
    shape = (len(queries), len(groups))
    score, se, p_top1_scoring, p_top1, p_none = (frame[name].to_numpy().reshape(shape) for name in NUMBERS)
    return Scores(queries, groups, score, se, p_top1_scoring, p_top1, p_none)


def read_numbers(path: str, others: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table with the columns NAMES it has and the numeric columns NUMBERS and `others`.

    In score files from before `p_top1_scoring` existed, the column `p_top1` holds it and there is no other `p_top1`;
    older files lack `p_none`. Names are text categories.
    Raises ArtifactError if a score is not finite or another number is infinite (empty values are allowed).
    """
    frame = read_long_csv(path, NAMES, (*others, *NUMBERS))
    if "p_top1_scoring" not in frame:
        frame = frame.rename(columns={"p_top1": "p_top1_scoring"}).assign(p_top1=np.nan)
    if "p_none" not in frame:
        frame = frame.assign(p_none=np.nan)
    for name in NUMBERS:
        values = frame[name].to_numpy()
        if problem := not_finite(values if name == "score" else values[~np.isnan(values)], name):
            raise ArtifactError(f"{path}: {problem}. {DIVERGED} {ANEW}")
    return frame
