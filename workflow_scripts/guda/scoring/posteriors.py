"""What the group classifier says of noisy images."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from guda.models.classifier import GroupClassifier
from guda.scoring.elbo import Draws


def posteriors(
    classifier: GroupClassifier, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """p(group | x_t, t) of every image at every diffusion step, float32 [n, len(steps), G].

    The noise is that of the likelihood terms; arguments are as for `elbo.kl_terms`.
    """

    def probabilities(x: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        return classifier(x, noise, t).exp()

    draws = Draws(images, ids, steps, seed)
    return draws.measured(probabilities, batch_size, classifier.device, "classifier batches")
