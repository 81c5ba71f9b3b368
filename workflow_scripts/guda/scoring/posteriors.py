"""Posteriors of the group classifier on noisy images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from guda.models.classifier import GroupClassifier
from guda.scoring.elbo import Draws

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


def posteriors(
    classifier: GroupClassifier,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Float[Tensor, "n s g"]:
    """p(group | x_t, t) of every image at every diffusion step, float32 [n, len(steps), G].

    The noise is that of the ELBO terms; arguments are as for `elbo.kl_terms`.
    """

    def probabilities(x: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        return classifier(x, noise, t).exp()

    draws = Draws(images, ids, steps, seed)
    return draws.measured(probabilities, batch_size, classifier.device, "classifier batches")
