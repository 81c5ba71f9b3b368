"""Two-sample statistics of generated and training images, with reference values for real images.

All compare features, standardized over the training images. The reference sample is some training images; it is
compared with generated images and, for the floor, with equally many other training images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from guda.core.seeding import derive_seed

if TYPE_CHECKING:
    from jaxtyping import Float

FEWEST = 10  # minimum number of images of each kind
MOST = 512
NEIGHBORS = 3  # k of the precision, as in the paper
FOLDS = 5
STRENGTH = 0.01  # C of the logistic regression; small, since there are more features than images


class TwoSample(NamedTuple):
    """A sample against the reference: `precision`, `auroc` of a classifier that separates them, and `kid`."""

    precision: float
    auroc: float
    kid: float


def two_samples(
    generated: Float[np.ndarray, "m d"], training: Float[np.ndarray, "n d"], ids: list[str]
) -> tuple[TwoSample, TwoSample] | None:
    """Statistics of generated images and, as the floor, of other training images; None if there are fewer than FEWEST.

    The reference is half of the training images (`ids` [n]), at most MOST, chosen by a hash of their ids.
    """
    mean, spread = training.mean(0, dtype=np.float64), training.std(0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    order = sorted(range(len(ids)), key=lambda row: derive_seed("two samples", ids[row]))
    half, count = min(MOST, len(ids) // 2), min(MOST, len(generated), len(ids) - len(ids) // 2)
    if min(half, count) < FEWEST:
        return None
    rows = order[:half], order[half : half + count]
    reference, others = ((training[some] - mean) / scale for some in rows)
    return compared((generated[:count] - mean) / scale, reference), compared(others, reference)


def compared(sample: Float[np.ndarray, "m d"], reference: Float[np.ndarray, "n d"]) -> TwoSample:
    """The statistics of one sample."""
    return TwoSample(precision(sample, reference), auroc(sample, reference), kid(sample, reference))


def precision(sample: Float[np.ndarray, "m d"], reference: Float[np.ndarray, "n d"]) -> float:
    """Share of a sample within the reference's manifold (Kynkäänniemi et al. 2019).

    An image counts if it is no farther from some reference image than that image's NEIGHBORS-th nearest neighbor.
    """
    radii = np.sort(distances(reference, reference), axis=1)[:, NEIGHBORS]  # the nearest is the image itself
    return float((distances(sample, reference) <= radii).any(axis=1).mean())


def distances(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m n"]:
    """Euclidean distances between the rows of two matrices."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def auroc(sample: Float[np.ndarray, "m d"], reference: Float[np.ndarray, "n d"]) -> float:
    """How well logistic regression separates two samples on held-out folds: .5 at chance, 1 if perfect.

    The area under the ROC curve (Lopez-Paz and Oquab 2017 use the accuracy), by FOLDS-fold cross-validation.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x, y = np.concatenate([sample, reference]), np.repeat([1, 0], [len(sample), len(reference)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    classifier = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
    found = cross_val_predict(classifier, x, y, cv=folds, method="decision_function")
    return float(roc_auc_score(y, found))


def kid(sample: Float[np.ndarray, "m d"], reference: Float[np.ndarray, "n d"]) -> float:
    """Unbiased kernel inception distance of two samples (Bińkowski et al. 2018), on the given features.

    The squared maximum mean discrepancy with the kernel (x . y / d + 1)^3; may be negative if the samples are alike.
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        found = kernel(a, a)
        return (found.sum() - np.trace(found)) / (len(a) * (len(a) - 1))

    return float(within(sample) + within(reference) - 2 * kernel(sample, reference).mean())
