"""What the group classifier says of noisy images."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from guda.models.classifier import GroupClassifier
from guda.scoring.elbo import at_every_step


def posteriors(
    classifier: GroupClassifier, images: Tensor, ids: list[str], steps: np.ndarray, seed: int, batch_size: int
) -> Tensor:
    """p(group | x_t, t) of every image at every diffusion step, float32 [n, len(steps), G].

    The noise is that of the likelihood terms; arguments are as for `elbo.kl_terms`.
    """
    return at_every_step(
        lambda x, noise, t: classifier(x, noise, t).exp(),
        *(images, ids, steps, seed, batch_size, classifier.device, "classifier batches"),
    )
