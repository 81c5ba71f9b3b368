"""The probability that a group is first in another run, estimated from this run's scores and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.core.seeding import derive_seed
from guda.methods.resampling import RESAMPLES, first_shares

if TYPE_CHECKING:
    from jaxtyping import Float

ATOMS = 200  # grid points of the true scores' distribution
STEPS = 200  # expectation-maximization steps
SEEN = 2000  # maximum number of queries to estimate the distribution of true scores from


def first_of_another_run(score: Float[np.ndarray, "n g"], error: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "n g"]:
    """p_top1 [n, G]: the probability that a group is first in another run with errors of the same size.

    `error` is the standard deviation of each score around the true score; errors are normal and independent. Since the
    first of many scores is also first by luck, true scores are estimated by empirical Bayes, from each group's
    distribution over the queries. Another run's score is a draw from the posterior plus an error. Groups that tie share
    first place. NaN where errors are NaN.
    """
    n, n_groups = score.shape
    if np.isnan(error).any():
        return np.full(score.shape, np.nan)
    generator = np.random.default_rng(derive_seed("another run", n_groups))
    uniform, normal = generator.random((n_groups, RESAMPLES)), generator.normal(size=(n_groups, RESAMPLES))
    priors = [prior(score[:, group], error[:, group]) if error[:, group].any() else None for group in range(n_groups)]
    shares = np.empty(score.shape)
    for query in range(n):
        drawn = score[query, :, None] + error[query, :, None] * normal
        for group, found in enumerate(priors):
            if found is not None:
                atoms, weights = found
                chances = weights * likelihood(score[query, [group]], error[query, [group]], atoms)[0]
                rows = np.searchsorted(chances.cumsum(), uniform[group] * chances.sum())
                drawn[group] += atoms[np.minimum(rows, ATOMS - 1)] - score[query, group]
        shares[query] = first_shares(drawn)
    return shares


def prior(
    score: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
    """Distribution of a group's true scores: grid points and their probabilities, [ATOMS] and [ATOMS].

    The maximum likelihood estimate (Kiefer and Wolfowitz 1956) on a grid, by expectation maximization. A pseudo-query
    with a uniform posterior regularizes the estimate when there are few queries. Grids are finer near 0, because errors
    grow with the score.
    """
    some = slice(None, None, -(-len(score) // SEEN))
    score, error = score[some], error[some]
    unit = np.median(error[error > 0]) if error.any() else 1.0
    low, high = np.arcsinh((score - 3 * error).min() / unit), np.arcsinh((score + 3 * error).max() / unit)
    atoms, weights = unit * np.sinh(np.linspace(low, high, ATOMS)), np.full(ATOMS, 1 / ATOMS)
    likely = likelihood(score, error, atoms)
    for _ in range(STEPS):
        chances = likely * weights
        chances /= chances.sum(axis=1, keepdims=True)
        weights = (chances.sum(axis=0) + 1 / ATOMS) / (len(score) + 1)
    return atoms, weights


def likelihood(
    score: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"], atoms: Float[np.ndarray, " a"]
) -> Float[np.ndarray, "n a"]:
    """Likelihood of each score under each true score, relative to that of the nearest."""
    distance = np.abs(score[:, None] - atoms)
    nearest = distance.min(axis=1, keepdims=True)
    squares = (distance - nearest) * (distance + nearest)
    return np.exp(-squares / (2 * np.maximum(error[:, None] ** 2, np.finfo(float).tiny)))
