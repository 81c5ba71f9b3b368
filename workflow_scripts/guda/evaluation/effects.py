"""How large effects are: the first score, and by how much it leads, against those of the oracle over all images.

[Q, G] are scores of G groups for Q images. Bad input raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from guda.evaluation.metrics import matrix_of, pair_of, rank_correlation

if TYPE_CHECKING:
    from jaxtyping import Float


def level(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the first score."""
    return matrix_of(scores, "scores").max(axis=1)


def contrast(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the first score less the mean over groups; what all groups of a query share cancels."""
    scores = matrix_of(scores, "scores")
    # As a mean of differences, so that it is exactly zero where all groups tie.
    return (scores.max(axis=1, keepdims=True) - scores).mean(axis=1)


def margin(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the first score less the second."""
    second, first = np.partition(matrix_of(scores, "scores"), (-2, -1), axis=1)[:, -2:].T
    return first - second


def effect_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: Spearman's rho, over images, of the two first-place scores.

    0 where either does not vary, hence also for a single image.
    """
    return _spearman_over_images(level, scores, oracle)


def contrast_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: the same of the two contrasts (see `contrast`)."""
    return _spearman_over_images(contrast, scores, oracle)


def margin_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: the same of the two margins of the first score over the second."""
    return _spearman_over_images(margin, scores, oracle)


def _spearman_over_images(size: Callable[[np.ndarray], np.ndarray], scores: ArrayLike, oracle: ArrayLike) -> float:
    scores, oracle = pair_of(scores, oracle)
    return float(rank_correlation(size(scores)[None], size(oracle)[None])[0])


def size_ratio(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: how many times larger effects are than the oracle's, the median over images.

    An image's ratio is that of the two contrasts. Images in which all groups tie under the oracle are left out; NaN
    where that is all of them. Says something only where both are in the same unit.
    """
    scores, oracle = pair_of(scores, oracle)
    sizes = contrast(oracle)
    varying = sizes > 0
    return float(np.median(contrast(scores)[varying] / sizes[varying])) if varying.any() else float("nan")
