"""Scores from projected gradients: TRAK's kernel, and the scores derived from it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import GudaError
from guda.core.paths import TRAINING, Paths
from guda.core.seeding import chosen
from guda.methods.gradients.damping import choose_damping
from guda.methods.gradients.plan import GradientScoresSpec, GradientSimilarity

FEATURES = 2**22  # float64 feature values per block: 32 MiB
SCORES = 2**23  # scores per block: 64 MiB


def instance_scores(
    method: GradientSimilarity, spec: GradientScoresSpec, paths: Paths
) -> Iterator[tuple[list[str], np.ndarray]]:
    """See `InstanceLevel.instance_scores`."""
    kernel = _kernel_of(spec, paths)
    for bucket, expected in spec.queries.items():
        queries, _ = load_tensors(paths.features(spec.method, bucket), expected, "np")
        ids = unpack_ids(queries["ids"])
        for block in _blocks(len(ids), SCORES // len(kernel.features)):
            scores = kernel(queries["features"][block])
            if method.of_output:
                scores = (scores * kernel.residuals) ** 2
            yield ids[block], scores


def damping(spec: GradientScoresSpec, paths: Paths) -> float:
    """The damping of the kernel, configured or selected."""
    return float(_kernel_of(spec, paths).damping)


def _kernel_of(spec: GradientScoresSpec, paths: Paths) -> Kernel:
    return _kernel(paths.features(spec.method, TRAINING), spec.training, spec.settings.damping)


@lru_cache(maxsize=1)  # used by the scores and by their record
def _kernel(path: str, expected: str, damping: float | str) -> Kernel:
    training, _ = load_tensors(path, expected, "np")
    return Kernel(training["features"], training["residuals"], unpack_ids(training["ids"]), damping)


class Kernel:
    """k(x, i) = phi(x)^T (Phi^T Phi + lambda I)^-1 phi_i for the rows phi_i of Phi, float32 [N, d].

    lambda is `damping` times the mean eigenvalue of Phi^T Phi; 'auto' selects it by cross-validation on two halves of
    the images, split by id. Computed in float64.
    """

    def __init__(self, features: np.ndarray, residuals: np.ndarray, ids: list[str], damping: float | str):
        from scipy.linalg import cho_factor

        self.features, self.residuals = features, residuals
        first = chosen(ids, len(ids) // 2, "damping")
        second = np.setdiff1d(np.arange(len(ids)), first)
        halves = gram(features, np.array(first, dtype=np.int64)), gram(features, second)
        self.damping = choose_damping(halves, (len(first), len(second))) if damping == "auto" else damping
        whole = halves[0] + halves[1]
        self.ridge = self.damping * np.trace(whole) / len(whole)
        whole[np.diag_indices_from(whole)] += self.ridge
        try:
            self._factor = cho_factor(whole, lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            raise GudaError(
                f"damping {self.damping} is too small for these gradients; raise it, or write auto"
            ) from None

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """k of queries' features [q, d] with every row, float64 [q, N]."""
        from scipy.linalg import cho_solve

        solved = cho_solve(self._factor, queries.T.astype(np.float64))
        found = np.empty((len(queries), len(self.features)))
        for block in _blocks(len(self.features), FEATURES // len(solved)):
            found[:, block] = (self.features[block].astype(np.float64) @ solved).T
        return found


def gram(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Phi^T Phi over the given rows of the features [N, d], float64 [d, d]."""
    dim = features.shape[1]
    total = np.zeros((dim, dim))
    for block in _blocks(len(rows), FEATURES // dim):
        part = features[rows[block]].astype(np.float64)
        total += part.T @ part
    return total


def _blocks(length: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, length, size)]
