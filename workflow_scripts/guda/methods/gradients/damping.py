"""Selection of the gradient kernel's damping on held-out gradients."""

from __future__ import annotations

import numpy as np

GRID = 10.0 ** np.arange(-4, 4.25, 0.25)  # relative to the mean eigenvalue of the Gram matrix


def choose_damping(halves: tuple[np.ndarray, np.ndarray], counts: tuple[int, int]) -> float:
    """The damping in GRID that maximizes the likelihood of each half's features given the other half's.

    Phi^T Phi / N estimates the covariance of gradients (the empirical Fisher information), and damping shrinks it. With
    too little damping, the inverse amplifies directions in which the N images hardly vary; with too much, it becomes a
    multiple of the identity and the kernel has no effect. Held-out images decide: with eigenvalues s_k and eigenvectors
    u_k of one half's Gram matrix, mean eigenvalue s and lambda = damping * s, the other half's features have, under
    N(0, (Phi^T Phi + lambda I) / n), the mean log-likelihood

        -1/2 sum_k [ log((s_k + lambda) / n) + n c_k / (s_k + lambda) ],        c_k = mean of (u_k^T phi)^2

    up to a constant. The sum over both directions is maximized. This needs no query and no oracle.

    `halves` are the Gram matrices float64 [d, d] of two halves of the training images, `counts` the halves' sizes.
    """
    likelihood = np.zeros(len(GRID))
    for seen, held_out in ((0, 1), (1, 0)):
        eigenvalues, vectors = np.linalg.eigh(halves[seen])
        eigenvalues = eigenvalues.clip(min=0)
        second_moments = ((halves[held_out] @ vectors) * vectors).sum(0) / counts[held_out]
        damped = eigenvalues + GRID[:, None] * eigenvalues.mean()
        likelihood -= (np.log(damped) + counts[seen] * second_moments / damped).sum(1) / 2
    return float(GRID[likelihood.argmax()])
