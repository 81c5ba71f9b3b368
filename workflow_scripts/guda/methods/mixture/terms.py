"""ELBO terms of a mixture of groups, and of the mixture without each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guda.models.classifier import GroupClassifier
from guda.models.denoisers import UNetDenoiser
from guda.scoring.elbo import Draws

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


def mixture_terms(
    conditional: UNetDenoiser,
    classifier: GroupClassifier,
    images: Num[Tensor, "n c h w"],
    ids: list[str],
    steps: Int[np.ndarray, " s"],
    seed: int,
    batch_size: int,
) -> Float[Tensor, "n s g"]:
    """KL_i of the mixture without each group minus KL_i of the mixture, float32 [n, len(steps), G], in nats.

    The noise is that of all ELBO terms; arguments are as for `elbo.kl_terms`. For each image and step, `conditional` is
    evaluated for all groups, and `classifier` gives the groups' shares.
    """
    n_groups = classifier.n_groups

    def differences(x: Tensor, noise: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        x_t, labels = conditional.add_noise(x, noise, t), torch.arange(n_groups, device=t.device)
        inputs = (x_t.repeat_interleave(n_groups, 0), t.repeat_interleave(n_groups), labels.repeat(len(t)))
        parts = zip(*(values.split(batch_size) for values in inputs), strict=True)
        predicted = torch.cat([conditional.predict_noise(*part) for part in parts]).unflatten(0, (len(t), n_groups))
        residuals = (noise[:, None] - predicted).flatten(2)
        return without_each(residuals.double(), classifier(x, noise, t).double())

    draws = Draws(images, ids, steps, seed)
    found = draws.measured(differences, max(1, batch_size // n_groups), conditional.device, "mixture batches")
    return (found * torch.from_numpy(conditional.schedule.kl_weights[steps])[:, None]).float()


def without_each(residuals: Float[Tensor, "b g d"], log_shares: Float[Tensor, "b g"]) -> Float[Tensor, "b g"]:
    """||r_-k||^2 - ||r||^2 for every group k, [B, G], from the groups' residuals r_k = e - e_k and log shares log pi_k.

    r = sum_k pi_k r_k is the mixture's residual, r_-k = sum_{j != k} pi_j r_j / (1 - pi_k) that without k. Since
    r_-k - r = pi_k (r_-k - r_k), the difference is pi_k <r_-k - r_k, r_-k + r>, exactly 0 if the group has no share.
    The other groups' shares come from a softmax without k, so they are accurate even if 1 - pi_k rounds to 0.
    """
    itself = torch.eye(log_shares.shape[1], dtype=torch.bool, device=log_shares.device)
    others = log_shares[:, None].masked_fill(itself, -torch.inf).softmax(2)
    shares = log_shares.exp()[:, :, None]
    without, whole = others @ residuals, (shares * residuals).sum(1, keepdim=True)
    return (shares * (without - residuals) * (without + whole)).sum(2)
