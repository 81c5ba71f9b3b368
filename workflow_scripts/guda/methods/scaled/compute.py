"""Unlearning scores with the distribution and level of a few groups' retrained scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from guda.core.errors import DataError
from guda.core.paths import Paths
from guda.evaluation.scores import Scores
from guda.methods.counterfactual import compute as counterfactual
from guda.methods.scaled.plan import ScaledSpec, ScaledUnlearned

if TYPE_CHECKING:
    from jaxtyping import Float


def scores(method: ScaledUnlearned, spec: ScaledSpec, paths: Paths) -> Scores:
    """GUDA scores with scale and level set by the retrained groups; each query's order of groups is preserved.

    Standard errors are GUDA's, rescaled; they ignore the randomness of the retrained models. Raises DataError if the
    retrained groups have the same score for all queries.
    """
    unlearned = counterfactual.scores(method.unlearned, spec.unlearned, paths)
    retrained = counterfactual.scores(method.unlearned, spec.retrained, paths)
    columns = [unlearned.groups.index(group) for group in retrained.groups]
    known = unlearned.score[:, columns]
    if np.ptp(known) == 0:
        raise DataError(
            f"{method.name}: unlearning gives {' and '.join(retrained.groups)} the same score for all queries, so no "
            "scale can be estimated; name other groups in attribution.guda_scaled.groups"
        )
    score = leveled(matched(unlearned.score, known, retrained.score), columns, retrained.score)
    se = np.asarray(unlearned.se, dtype=np.float64)
    above, below = (matched(unlearned.score + error, known, retrained.score) for error in (se, -se))
    return replace(unlearned, score=score, se=(above - below) / 2)


def matched(
    scores: Float[np.ndarray, "n g"], known: Float[np.ndarray, "m r"], retrained: Float[np.ndarray, "m r"]
) -> Float[np.ndarray, "n g"]:
    """Scores [n, G] mapped monotonically so that the `known` scores [m, R] get the distribution of `retrained` [m, R].

    Quantile matching: the i-th smallest value maps to the i-th smallest, with linear interpolation between; beyond the
    ends the map is extrapolated with the ratio of the standard deviations as its slope.
    """
    before, after = np.sort(known, axis=None), np.sort(retrained, axis=None)
    outside = np.minimum(scores - before[0], 0) + np.maximum(scores - before[-1], 0)
    return np.interp(scores, before, after) + after.std() / before.std() * outside


def leveled(
    scores: Float[np.ndarray, "n g"], columns: Sequence[int], retrained: Float[np.ndarray, "n r"]
) -> Float[np.ndarray, "n g"]:
    """Scores [n, G] with each query's level shrunk towards that of the `retrained` scores [n, R] of groups `columns`.

    The level is the component shared by all groups of a query. With g = s + b + e, where level b and error e have equal
    variance, the expectation of b is the sum of the R groups' g - s divided by R + 1.
    """
    return scores + (retrained - scores[:, columns]).sum(1, keepdims=True) / (len(columns) + 1)
