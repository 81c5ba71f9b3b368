"""Standard errors of scores that are sums of ELBO terms, due to the single noise sample per diffusion step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import DIVERGED, not_finite
from guda.core.seeding import derive_seed

if TYPE_CHECKING:
    from jaxtyping import Float

RESAMPLES = 1000


def summarize(
    terms: Float[np.ndarray, "n g s"], scored: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[Float[np.ndarray, "n g"], Float[np.ndarray, "n g"], Float[np.ndarray, "n g"]]:
    """Score, standard error and p_top1_scoring, each [n, G], from the weighted terms [n, G, S] of the scores.

    The terms follow a smooth trend over the S steps, plus the error of one noise sample per step. The trend is not an
    error, so each term's deviation from its neighbors is resampled (RESAMPLES times, by a wild bootstrap whose signs
    are shared by all groups and queries). The standard error is the root of the sum of squared deviations; both are NaN
    for one step. With `scored`, scores and their resamples are that function of the sums [G, ...] of all groups, and
    the standard error is the root mean square deviation of the resamples from the score.
    Raises FloatingPointError for non-finite terms, whose group would be first in all resamples.
    """
    if problem := not_finite(terms, "terms"):
        raise FloatingPointError(f"{problem}. {DIVERGED}")
    n, n_groups, n_steps = terms.shape
    sums, errors = terms.sum(2), deviations(terms)
    score = sums if scored is None else scored(sums.T).T
    se, p_top1_scoring = np.sqrt((errors**2).sum(2)), np.full((n, n_groups), np.nan)
    generator = np.random.default_rng(derive_seed("resampled steps", n_steps))
    signs = generator.choice([-1.0, 1.0], size=(n_steps, RESAMPLES))
    if n_steps > 1:
        for row in range(n):
            # Not `@`, whose rounding depends on a group's position: groups with equal terms must tie.
            resampled = sums[row, :, None] + np.einsum("gs,sr->gr", errors[row], signs)
            if scored is not None:
                resampled = scored(resampled)
                se[row] = np.sqrt(((resampled - score[row, :, None]) ** 2).mean(1))
            p_top1_scoring[row] = first_shares(resampled)
    return score, se, p_top1_scoring


def first_shares(resampled: Float[np.ndarray, "g r"]) -> Float[np.ndarray, " g"]:
    """Share of the resamples in which each group is first; tied groups share first place."""
    first = resampled == resampled.max(0)
    return (first / first.sum(0)).sum(1) / resampled.shape[1]


def deviations(terms: Float[np.ndarray, "*q s"]) -> Float[np.ndarray, "*q s"]:
    """Each term's deviation from the mean of its two neighbors (at the ends: from its one neighbor), [..., S].

    Scaled so that, for independent errors of equal variance around a linear trend (at the ends: a constant), the
    expected square equals that variance. NaN for a single step.
    """
    if terms.shape[-1] == 1:
        return np.full(terms.shape, np.nan)
    inner = (terms[..., 1:-1] - (terms[..., :-2] + terms[..., 2:]) / 2) * np.sqrt(2 / 3)
    ends = (terms[..., [0, -1]] - terms[..., [1, -2]]) * np.sqrt(1 / 2)
    return np.concatenate([ends[..., :1], inner, ends[..., 1:]], axis=-1)
