"""Distances between images. numpy only."""

from __future__ import annotations

import numpy as np

WINDOW = 7
RANGE = 255
K1, K2 = 0.01, 0.03


def mse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared difference of uint8 images [n, C, H, W] on the scale 0..1, float64 [n]."""
    difference = (a.astype(np.float64) - b) / RANGE
    return (difference**2).reshape(len(a), -1).mean(1)


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004, equation 13) of uint8 images [n, C, H, W], float64 [n]; 1 if equal.

    Means, variances and covariances are computed in a uniform square window of side WINDOW (or the image's shorter
    side) at every position within the image; the index is averaged over positions and channels. The paper's Gaussian
    window of side 11 does not fit into small images.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    side = min(WINDOW, *a.shape[2:])
    mean_x, mean_y = window_means(x, side), window_means(y, side)
    variance_x = window_means(x * x, side) - mean_x**2
    variance_y = window_means(y * y, side) - mean_y**2
    covariance = window_means(x * y, side) - mean_x * mean_y
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    index = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    index /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return index.reshape(len(a), -1).mean(1)


def window_means(x: np.ndarray, side: int) -> np.ndarray:
    """Means of [n, C, H, W] over all square windows within the image, [n, C, H - side + 1, W - side + 1]."""
    sums = np.pad(x.cumsum(2).cumsum(3), ((0, 0), (0, 0), (1, 0), (1, 0)))
    corners = sums[:, :, side:] - sums[:, :, :-side]
    return (corners[..., side:] - corners[..., :-side]) / side**2
