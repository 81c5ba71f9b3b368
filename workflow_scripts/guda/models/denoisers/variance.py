"""The variational term that teaches a network the variance of its reverse steps (Nichol & Dhariwal 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

VLB_WEIGHT = 1e-3  # lambda of L_hybrid = L_simple + lambda L_vlb


def reverse_step_kl(output: Tensor, noise_error: Tensor, kl_weights: Tensor, log_ranges: Tensor) -> Tensor:
    """KL of the true posterior q(x_{i-1} | x_i, x) from the model's reverse step, in nats per dimension, [B, C, H, W].

    With `output` v in [-1, 1] the model's log variance is (v + 1) / 2 log beta_i + (1 - v) / 2 log beta~_i (eq. 15).
    `noise_error` e - e_theta is the error of its mean, in units of noise; `kl_weights` and `log_ranges`, [B, 1, 1, 1],
    are those of the noise schedule. Where both are 0 the result is 0.
    """
    log_ratio = (output + 1) / 2 * log_ranges  # of the model's variance to beta~_i
    # Between Gaussians of variances s and r s whose means differ by d: (log r + 1 / r - 1 + d^2 / (r s)) / 2. The last
    # term is KL_i for r = 1.
    return (log_ratio + torch.expm1(-log_ratio)) / 2 + kl_weights * noise_error.square() * torch.exp(-log_ratio)
