"""Constants of the diffusion process, in float64, and the diffusion steps at which ELBO terms are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from guda import config

MAX_BETA = 0.999
KNOWN_TO_SAMPLERS = ("linear", "scaled_linear", "squaredcos_cap_v2")
SIGNAL_LEFT = 0.01  # scale of the clean image in x_i that counts as no signal


@dataclass(frozen=True)
class NoiseSchedule:
    """x_i = sqrt(a_i) x + sqrt(1 - a_i) e, with a_i = `alphas_cumprod[i]`, i = 0 .. T-1, as diffusers counts."""

    alphas_cumprod: np.ndarray
    prediction_type: str

    @classmethod
    def from_config(cls, settings: config.NoiseSchedule) -> NoiseSchedule:
        return cls(np.cumprod(1 - betas_of(settings)), settings.prediction_type)

    @property
    def gammas(self) -> np.ndarray:
        """sqrt(a_i), the signal's scale, [T]."""
        return np.sqrt(self.alphas_cumprod)

    @property
    def sigmas(self) -> np.ndarray:
        """sqrt(1 - a_i), the noise's scale, [T]."""
        return np.sqrt(1 - self.alphas_cumprod)

    @property
    def log_noise_ratios(self) -> np.ndarray:
        """u_i = log(sqrt(1 - a_i) / sqrt(a_i)), increasing, [T]: minus half the log SNR."""
        return (np.log1p(-self.alphas_cumprod) - np.log(self.alphas_cumprod)) / 2

    @property
    def kl_weights(self) -> np.ndarray:
        """Factor of ||e - e_theta||^2 in KL_i, [T]: (SNR_{i-1} / SNR_i - 1) / 2.

        Holds if both variances are that of the true posterior (Kingma et al. 2021, eq. 14, discrete). Step 0 is the
        decoder term, whose weight in this form is infinite.
        """
        snr = self.alphas_cumprod / (1 - self.alphas_cumprod)
        return np.concatenate([[np.inf], (snr[:-1] / snr[1:] - 1) / 2])

    @property
    def log_variance_ranges(self) -> np.ndarray:
        """log(beta_i / beta~_i), [T]: beta_i is the variance of a forward step, beta~_i that of the true posterior.

        beta~_i = (1 - a_{i-1}) / (1 - a_i) beta_i (Ho et al. 2020, eq. 7); at step 0 it is zero.
        """
        left = 1 - self.alphas_cumprod
        return np.concatenate([[np.inf], np.log(left[1:] / left[:-1])])


def betas_of(settings: config.NoiseSchedule) -> np.ndarray:
    """Variance added at each step, float64 [T], as in diffusers."""
    steps, first, last = settings.num_train_timesteps, settings.beta_start, settings.beta_end
    if settings.beta_schedule == "squaredcos_cap_v2":
        # Nichol & Dhariwal 2021, eq. 17, with betas capped as in diffusers.
        level = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - level[1:] / level[:-1], MAX_BETA)
    if settings.beta_schedule == "linear":
        return np.linspace(first, last, steps)
    if settings.beta_schedule == "sigmoid":
        return first + (last - first) / (1 + np.exp(-np.linspace(-6, 6, steps)))  # as in GeoDiff, arXiv 2203.02923
    return np.linspace(np.sqrt(first), np.sqrt(last), steps) ** 2


def scheduler_settings(settings: config.NoiseSchedule) -> dict[str, Any]:
    """The process as arguments of diffusers' samplers, some of whose schedules they only take as a list of betas."""
    known = settings.model_dump()
    if settings.beta_schedule in KNOWN_TO_SAMPLERS:
        return known
    return known | {"beta_schedule": KNOWN_TO_SAMPLERS[0], "trained_betas": betas_of(settings).tolist()}


def end_of_signal(schedule: NoiseSchedule) -> int:
    """The first step at which at most SIGNAL_LEFT of the clean image is left, or else the last step."""
    return min(int(np.searchsorted(-schedule.gammas, -SIGNAL_LEFT)), len(schedule.gammas) - 1)


def elbo_steps(settings: config.StepSchedule) -> np.ndarray:
    """Diffusion steps of a schedule, ascending int64, inside [first, last]."""
    if settings.kind == "all":
        return np.arange(settings.first, settings.last + 1)
    if settings.kind == "stride":
        return np.arange(settings.first, settings.last + 1, settings.stride)
    # Spacing below one step would repeat steps: every step at the short end of a dense schedule is then taken.
    return np.unique(np.rint(np.geomspace(settings.first, settings.last, settings.count)).astype(np.int64))


def step_weights(steps: np.ndarray, first: int, last: int) -> np.ndarray:
    """The number of steps in first..last that each of `steps` represents, float64 of the same shape.

    sum_j w_j f(steps_j) is the sum over i = first..last of the linear interpolation of f between the given steps
    (constant beyond them), so every schedule estimates the same sum, and the weights add up to last - first + 1.
    """
    window = np.arange(first, last + 1)
    if len(steps) == 1:
        return np.array([len(window)], dtype=np.float64)
    left = np.clip(np.searchsorted(steps, window, side="right") - 1, 0, len(steps) - 2)
    share = np.clip((window - steps[left]) / (steps[left + 1] - steps[left]), 0, 1)
    n = len(steps)
    return np.bincount(left, 1 - share, minlength=n) + np.bincount(left + 1, share, minlength=n)
