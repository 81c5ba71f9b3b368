"""Agreement of scores with an oracle's, for notebooks and other code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from guda import config
from guda.config.messages import from_arguments
from guda.core.errors import ArgumentError
from guda.evaluation.agreement import agreement as measured
from guda.evaluation.metrics_table import score_matrices
from guda.evaluation.relevance import beyond_doubt

__all__ = ["agreement"]


def agreement(scores: pd.DataFrame, oracle: pd.DataFrame | Sequence[pd.DataFrame], **settings: Any) -> pd.Series:
    """The agreement measures of metrics.csv between a method's scores and an oracle's.

    Args:
        scores: a frame as returned by `guda.attribute` or read from results/scores/METHOD.csv: one row per `query` and
            `group` with its `score`, in any order.
        oracle: the same of retrained models. Of several (retrained with different seeds), scores are compared with the
            first, and all of them determine which queries are decisive and which groups are relevant.
        settings: keys of the section `metrics`, with its defaults: `bootstrap_samples`, `seed` and `decisive_ratio`.

    Returns:
        n_queries, n_groups, top1 with its 95 % interval (top1_low, top1_high), top3, ndcg_exp@3, ndcg_lin@3, mrr, rbo,
            rbo_raw, wpra@3, spearman, kendall, top1_balanced, kappa, effect_spearman, contrast_spearman,
            margin_spearman, decisive_auroc, decisive_auroc_margin, lrap, average_precision and size_ratio. Measures of
            decisive queries or relevant groups are NaN if all or none of them are. docs/method.md and the functions in
            `guda.evaluation` give formulas and sources.

    Raises:
        GudaError: for frames with different queries or groups, and for unknown settings.
    """
    chosen = from_arguments(config.Agreement, settings)
    oracles = list(oracle) if isinstance(oracle, Sequence) else [oracle]
    if not oracles:
        raise ArgumentError("oracle: an empty list; give the scores of one oracle or more")
    frames = {"scores": _checked(scores, "scores")}
    for number, frame in enumerate(oracles):
        name = "oracle" if len(oracles) == 1 else f"oracle[{number}]"
        frames[name] = _checked(frame, name)
        _check_same(frames["scores"], frames[name], name)
    _, matrices = score_matrices(pd.concat(frame.assign(method=name) for name, frame in frames.items()))
    found, *references = matrices.values()
    resampling = {"n_bootstrap": chosen.bootstrap_samples, "seed": chosen.seed}
    return pd.Series(measured(found, references[0], *beyond_doubt(references, chosen.decisive_ratio), **resampling))


def _checked(frame: pd.DataFrame, argument: str) -> pd.DataFrame:
    """The columns query, group and score of a frame with one finite score per query and group, and 2+ groups."""
    columns = ["query", "group", "score"]
    if not isinstance(frame, pd.DataFrame) or not {*columns} <= {*frame.columns}:
        found = list(frame.columns) if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise ArgumentError(f"{argument}: expected a frame with the columns {', '.join(columns)}, found {found}")
    repeated = frame.loc[frame.duplicated(["query", "group"]), ["query", "group"]]
    if len(repeated):
        query, group = repeated.iloc[0]
        raise ArgumentError(f"{argument}: query {query!r} has group {group!r} twice; give the scores of one method")
    n_queries, n_groups = frame["query"].nunique(), frame["group"].nunique()
    if len(frame) != n_queries * n_groups or n_groups < 2:
        raise ArgumentError(
            f"{argument}: has {len(frame)} rows for {n_queries} queries and {n_groups} groups; give one score for "
            "every query and group, and at least two groups"
        )
    numbers = pd.to_numeric(frame["score"], errors="coerce")  # text becomes NaN
    if bad := int((~np.isfinite(numbers.to_numpy(dtype=float))).sum()):
        raise ArgumentError(
            f"{argument}: {bad} of {len(frame)} scores are not finite; leave out queries without finite scores"
        )
    return frame[columns]


def _check_same(scores: pd.DataFrame, other: pd.DataFrame, argument: str) -> None:
    for column in ("query", "group"):
        if differing := sorted({*scores[column]} ^ {*other[column]}, key=str):
            names = ", ".join(map(repr, differing[:3]))
            raise ArgumentError(
                f"{argument}: its column {column!r} differs from that of scores: {len(differing)} names are in one "
                f"alone ({names}); give both the same"
            )
