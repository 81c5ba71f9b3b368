"""Bootstrap over queries: resamples, and confidence intervals of means."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike


def resamples(n: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """Bootstrap resamples: n rows of n images drawn with replacement, int [n], `n_bootstrap` times.

    Equal (n, seed) give the same resamples, so that differences are paired.
    """
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1, found {n_bootstrap}")
    rng = np.random.default_rng(seed)
    # One at a time, so that memory does not grow with n_bootstrap.
    return (rng.integers(n, size=n) for _ in range(n_bootstrap))


def bootstrap_interval(values: ArrayLike, n_bootstrap: int, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Per-query values [Q] -> (low, high): percentile bootstrap interval of their mean over images."""
    values = np.asarray(values, dtype=np.float64)
    bad = int((~np.isfinite(values)).sum())
    if values.ndim != 1 or values.size == 0 or bad:
        raise ValueError(
            f"values must be a non-empty finite vector, found shape {values.shape} with {bad} NaN or infinite"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, found {level}")
    means = [values[rows].mean() for rows in resamples(len(values), n_bootstrap, seed)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
