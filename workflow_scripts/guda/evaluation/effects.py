"""Effect sizes: the top score and its margin, compared with the oracle's over all images.

[Q, G] are scores of G groups for Q images. Bad input raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from guda.evaluation.metrics import matrix_of, pair_of, rank_correlation
from guda.evaluation.ranking import Ranked

if TYPE_CHECKING:
    from jaxtyping import Float


def level(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the top score."""
    return matrix_of(scores, "scores").max(axis=1)


def contrast(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the top score minus the mean over groups; components shared by all groups cancel."""
    scores = matrix_of(scores, "scores")
    # As a mean of differences, so that it is exactly zero if all groups tie.
    return (scores.max(axis=1, keepdims=True) - scores).mean(axis=1)


def margin(scores: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] -> [Q]: the top score minus the second."""
    second, first = np.partition(matrix_of(scores, "scores"), (-2, -1), axis=1)[:, -2:].T
    return first - second


def effect_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: Spearman's rho of the two top scores over images.

    0 if either is constant, hence also for a single image.
    """
    return _spearman_over_images(level, scores, oracle)


def contrast_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: Spearman's rho of the two contrasts (see `contrast`) over images."""
    return _spearman_over_images(contrast, scores, oracle)


def margin_spearman(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: Spearman's rho of the two margins (see `margin`) over images."""
    return _spearman_over_images(margin, scores, oracle)


def _spearman_over_images(size: Callable[[ArrayLike], np.ndarray], scores: ArrayLike, oracle: ArrayLike) -> float:
    sizes = (Ranked(size(each)[None]) for each in pair_of(scores, oracle))
    return float(rank_correlation(*sizes)[0])


def size_ratio(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: how many times larger effects are than the oracle's, as the median over images.

    An image's ratio is that of the two contrasts. Images whose groups all tie under the oracle are left out; NaN if no
    image remains. Meaningful only if both have the same unit.
    """
    scores, oracle = pair_of(scores, oracle)
    sizes = contrast(oracle)
    varying = sizes > 0
    return float(np.median(contrast(scores)[varying] / sizes[varying])) if varying.any() else float("nan")
