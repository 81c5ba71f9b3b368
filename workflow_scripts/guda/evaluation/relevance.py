"""Decisive images and relevant groups, on which all oracle seeds agree, and how well scores identify them.

[Q, G] are scores of G groups for Q images. Bad input raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from guda.evaluation.effects import level, margin
from guda.evaluation.metrics import matrix_of
from guda.evaluation.ranking import Ranked, ranks

if TYPE_CHECKING:
    from jaxtyping import Bool


def decisive(oracles: Sequence[ArrayLike], ratio: float = 2.0) -> np.ndarray:
    """List of [Q, G], one per oracle seed -> bool [Q]: images for which the oracle is unambiguous.

    Every seed ranks the same group first, without ties, with a positive score of at least `ratio` times the second.
    """
    stack = _stacked(oracles)
    winner = stack.argmax(axis=2)
    second, first = np.moveaxis(np.sort(stack, axis=2)[:, :, -2:], 2, 0)
    clear = (first > 0) & (first > second) & (first >= ratio * second)
    return ((winner == winner[0]) & clear).all(axis=0)


def relevant(oracles: Sequence[ArrayLike], ratio: float = 2.0) -> Bool[np.ndarray, "q g"]:
    """List of [Q, G], one per oracle seed -> bool [Q, G]: groups that an image unambiguously depends on.

    Every seed gives the group a positive score greater than its top score divided by `ratio`. For a decisive image only
    the first group is relevant; if the seeds disagree, there may be none.
    """
    stack = _stacked(oracles)
    first = stack.max(axis=2, keepdims=True)
    return ((stack > 0) & ((stack == first) | (ratio * stack > first))).all(axis=0)


def beyond_doubt(oracles: Sequence[ArrayLike], ratio: float) -> tuple[Bool[np.ndarray, " q"], Bool[np.ndarray, "q g"]]:
    """Masks of decisive images and of relevant groups."""
    return decisive(oracles, ratio), relevant(oracles, ratio)


def _stacked(oracles: Sequence[ArrayLike]) -> np.ndarray:
    """The scores of all seeds, [seeds, Q, G]."""
    seeds = [matrix_of(seed, f"oracles[{i}]") for i, seed in enumerate(oracles)]
    shapes = sorted({seed.shape for seed in seeds})
    if len(shapes) != 1:
        raise ValueError(f"oracles must be one or more matrices of one shape, found shapes {shapes}")
    return np.stack(seeds)


def lrap(scores: ArrayLike, is_relevant: ArrayLike) -> float:
    """[Q, G], bool [Q, G] -> float: label ranking average precision (Tsoumakas et al. 2010), averaged over images.

    For each relevant group, the share of relevant groups among those that score at least as high, averaged over the
    image's relevant groups. Images with no relevant or no irrelevant group are left out; NaN if no image remains.
    """
    scores, is_relevant = _with_relevance(scores, is_relevant)
    decided = is_relevant.any(axis=1) & ~is_relevant.all(axis=1)
    return float(_precision(scores[decided], is_relevant[decided]).mean()) if decided.any() else float("nan")


def average_precision(scores: ArrayLike, is_relevant: ArrayLike) -> float:
    """[Q, G], bool [Q, G] -> float: average precision of all (image, group) pairs in a single ranking.

    Equals `lrap` of one image with all pairs as its groups; measures whether scores are comparable across images. NaN
    if no pair or every pair is relevant.
    """
    scores, is_relevant = _with_relevance(scores, is_relevant)
    return lrap(scores.reshape(1, -1), is_relevant.reshape(1, -1))


def _with_relevance(scores: ArrayLike, is_relevant: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores, is_relevant = matrix_of(scores, "scores"), np.asarray(is_relevant, dtype=bool)
    if is_relevant.shape != scores.shape:
        raise ValueError(f"is_relevant must have shape {scores.shape}, found {is_relevant.shape}")
    return scores, is_relevant


def _precision(scores: np.ndarray, is_relevant: np.ndarray) -> np.ndarray:
    """Precision at the score of each relevant group, averaged over relevant groups, [Q]; each row has at least one."""
    ranked = Ranked(scores)
    above, tied = ranked.places
    at_least = above + tied
    hits = np.take_along_axis(is_relevant, ranked.order, axis=1).cumsum(axis=1)
    precision = np.take_along_axis(hits, at_least - 1, axis=1) / at_least
    return (precision * is_relevant).sum(axis=1) / is_relevant.sum(axis=1)


def decisive_auroc(scores: ArrayLike, is_decisive: ArrayLike) -> float:
    """[Q, G], bool [Q] -> float: AUROC of the top score for detecting decisive images.

    The probability that a decisive image scores above an indecisive one (Mann-Whitney), with ties counting half; NaN
    if no image or every image is decisive.
    """
    return _decisive_auroc(level, scores, is_decisive)


def decisive_auroc_margin(scores: ArrayLike, is_decisive: ArrayLike) -> float:
    """[Q, G], bool [Q] -> float: AUROC of the margin between the top two scores for detecting decisive images."""
    return _decisive_auroc(margin, scores, is_decisive)


def _decisive_auroc(size: Callable[[np.ndarray], np.ndarray], scores: ArrayLike, is_decisive: ArrayLike) -> float:
    scores, is_decisive = matrix_of(scores, "scores"), np.asarray(is_decisive, dtype=bool)
    if is_decisive.shape != scores.shape[:1]:
        raise ValueError(f"is_decisive must have shape {scores.shape[:1]}, found {is_decisive.shape}")
    positive = int(is_decisive.sum())
    negative = len(is_decisive) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    rank_sum = (len(scores) + 1 - ranks(size(scores)[None])[0])[is_decisive].sum()  # from the lowest
    return float((rank_sum - positive * (positive + 1) / 2) / (positive * negative))
