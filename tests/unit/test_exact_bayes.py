"""Counterfactual scores where the truth is known: a mixture of Gaussians whose components are the groups.

The ideal denoiser of such data, and of the data without a group, are closed formulas, so nothing is trained.

What the score must be: with Bayes-optimal reverse steps the KL terms of steps first..last telescope,

    sum_i KL(q(x_{i-1} | x_i, x) || p(x_{i-1} | x_i))
        = KL(q(x_{first-1} | x) || p_{first-1}) - KL(q(x_last | x) || p_last),

where p_i is the density of the noised data. The entropies of q cancel between two models, which leaves

    score(x) = E[log p_full(x_{first-1}) - log p_without(x_{first-1})] - the same at x_last.
"""

import numpy as np
import pytest
import torch

from guda import config
from guda.methods.resampling import summarize
from guda.models.denoisers import BoundDenoiser
from guda.models.noise_schedule import elbo_steps, step_weights
from guda.scoring.elbo import kl_terms

SCALE = 0.15  # of every component; the means are at least 1.2 sqrt(2) = 11 scales apart
MEANS = 0.6 * torch.tensor([[1, 1, -1, -1], [-1, 1, 1, -1], [-1, -1, 1, 1], [1, -1, -1, 1]], dtype=torch.float64)


class IdealDenoiser:
    """Bayes-optimal noise prediction for equally likely Gaussians N(mean, SCALE^2), images of 1x2x2."""

    device = torch.device("cpu")

    def __init__(self, means, schedule):
        self.means, self.schedule = means, schedule
        self.gammas, self.sigmas = torch.from_numpy(schedule.gammas), torch.from_numpy(schedule.sigmas)

    def of(self, rows):
        return self

    def add_noise(self, x, noise, t):
        return self.gammas[t][:, None, None, None] * x + self.sigmas[t][:, None, None, None] * noise

    def log_joint(self, x_t, t):
        """log p(component, x_t), [B, K]: x_t ~ N(gamma mean, gamma^2 SCALE^2 + sigma^2)."""
        variance = ((self.gammas[t] * SCALE) ** 2 + self.sigmas[t] ** 2)[:, None]
        squared = (x_t.flatten(1)[:, None] - self.gammas[t][:, None, None] * self.means).square().sum(2)
        return -squared / (2 * variance) - 2 * torch.log(2 * torch.pi * variance) - np.log(len(self.means))

    def log_density(self, x_t, t):
        return self.log_joint(x_t, t).logsumexp(1)

    def predict_noise(self, x_t, t, condition=None):
        """(x_t - gamma E[x_0 | x_t]) / sigma; each component shrinks x_t towards its own mean."""
        flat, gamma, sigma = x_t.double().flatten(1), self.gammas[t][:, None], self.sigmas[t][:, None]
        mean = self.log_joint(flat, t).softmax(1) @ self.means if condition is None else self.means[condition]
        clean = mean + gamma * SCALE**2 / ((gamma * SCALE) ** 2 + sigma**2) * (flat - gamma * mean)
        return ((flat - gamma * clean) / sigma).reshape(x_t.shape)


def points(component, n):
    """uint8 [n, 1, 2, 2], drawn from one component and rounded as images are."""
    generator = torch.Generator().manual_seed(component)
    x = MEANS[component] + SCALE * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).reshape(n, 1, 2, 2)


def weighted_terms(schedule, means, images, settings, groups=None):
    """w_i (KL_i without group k - KL_i full), [n, G, S]: the groups are the rows of `means`, all or those given."""
    ids, steps = [f"point-{i}" for i in range(len(images))], elbo_steps(settings)

    def kl(rows):
        denoiser = IdealDenoiser(means[rows], schedule)
        return kl_terms(denoiser, images, ids, steps, seed=0, batch_size=4096).double().numpy()

    every = np.arange(len(means))
    terms = np.stack([kl(every != group) - kl(every) for group in (every if groups is None else groups)], axis=1)
    return terms * step_weights(steps, settings.first, settings.last)


def conditional_scores(schedule, images, settings):
    """ELBO(x | k) - ELBO(x) of the ideal conditional network, [n, 4]."""
    ids, steps, denoiser = (
        [f"point-{i}" for i in range(len(images))],
        elbo_steps(settings),
        IdealDenoiser(MEANS, schedule),
    )
    weights = step_weights(steps, settings.first, settings.last)

    def elbo(label):
        told = denoiser if label is None else BoundDenoiser(denoiser, torch.full((len(ids),), label))
        return -kl_terms(told, images, ids, steps, 0, 4096).double().numpy() @ weights

    return np.stack([elbo(label) - elbo(None) for label in range(4)], axis=1)


def log_density_ratio(schedule, means, group, images, i):
    """E[log p_full(x_i) - log p_without(x_i)] over the noise of each image, [n], from 2000 draws."""
    full, without = IdealDenoiser(means, schedule), IdealDenoiser(means[np.arange(len(means)) != group], schedule)
    x = (images.double() / 127.5 - 1).repeat_interleave(2000, 0)
    noise = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.full((len(x),), i)
    x_i = full.add_noise(x, noise, t)
    return (full.log_density(x_i, t) - without.log_density(x_i, t)).reshape(len(images), 2000).mean(1).numpy()


def four_errors(values):
    """Four standard errors of the mean of independent values."""
    return 4 * values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("i", [0, 100, 500, 900])
def test_ideal_denoiser_follows_the_score_of_the_density(schedule, i):
    # Tweedie: e*(x_t) = -sigma grad log p_t(x_t).
    ideal, t = IdealDenoiser(MEANS, schedule), torch.full((8,), i)
    x_t = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)).requires_grad_()
    (gradient,) = torch.autograd.grad(ideal.log_density(x_t, t).sum(), x_t)
    torch.testing.assert_close(ideal.predict_noise(x_t.detach(), t), -schedule.sigmas[i] * gradient)


def test_true_group_is_first(schedule):
    images = torch.cat([points(component, 10) for component in range(4)])
    settings = config.StepSchedule(kind="geometric", first=60, last=710, count=16)
    terms = weighted_terms(schedule, MEANS, images, settings)
    score, _, p_top1 = summarize(terms)
    truth = np.arange(4).repeat(10)
    np.testing.assert_array_equal(score.argmax(1), truth)
    assert p_top1[np.arange(40), truth].min() > 0.95
    # Losing one's own group costs tens of nats; losing another one log(4/3) on average (see below), up to noise.
    assert score[np.arange(40), truth].min() > 20
    assert abs(score[truth[:, None] != np.arange(4)].mean()) < 1


def test_score_is_the_log_density_ratio(schedule):
    images, settings = points(0, 32), config.StepSchedule(kind="all", first=1, last=998)
    terms = weighted_terms(schedule, MEANS, images, settings, groups=[0])[:, 0]
    expected = log_density_ratio(schedule, MEANS, 0, images, 0) - log_density_ratio(schedule, MEANS, 0, images, 998)

    # One noise per step: what is left of it over 32 points is 2 %.
    excess = terms.sum(1) - expected
    assert four_errors(excess) < 0.03 * expected.mean()
    # KL terms take the squared error in x_0 at the noisier end of each step's interval of the SNR: too much, by O(1/T).
    # With 100 points 2.5 % at T = 1000 and 0.6 % at T = 4000.
    assert -four_errors(excess) < excess.mean() < 0.03 * expected.mean() + four_errors(excess)

    # The trapezoid rule over the same squared errors, KL_i / (SNR_{i-1} - SNR_i), is wrong by O(1/T^2) only.
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    widths = snr[:998] - snr[1:999]
    squared = terms / widths
    previous = np.concatenate([squared[:, :1], squared[:, :-1]], axis=1)
    excess = ((squared + previous) / 2 * widths).sum(1) - expected
    assert abs(excess.mean()) < four_errors(excess)


def test_losing_another_group_only_raises_the_share_of_the_own(schedule):
    # Well separated components: p_full(x) = 1/4 N(x), p_without(x) = 1/3 N(x), so the score is log(3/4).
    settings = config.StepSchedule(kind="stride", first=1, last=998, stride=5)
    score = weighted_terms(schedule, MEANS, points(0, 40), settings).sum(2)[:, 1:].mean(1)
    assert score.mean() == pytest.approx(np.log(3 / 4), abs=four_errors(score))


def test_losing_one_of_two_groups_with_the_same_content_hardly_matters(schedule):
    # Groups 0 and 1 are the same component. Their points: p_full = 2/5 N, p_without = 1/4 N, score log(8/5).
    settings = config.StepSchedule(kind="stride", first=1, last=998, stride=5)
    score = weighted_terms(schedule, MEANS[[0, 0, 1, 2, 3]], points(0, 40), settings).sum(2)
    np.testing.assert_allclose(score[:, 0], score[:, 1], rtol=1e-6)
    assert score[:, 0].mean() == pytest.approx(np.log(8 / 5), abs=four_errors(score[:, 0]))
    # The same points where the content has one source.
    assert weighted_terms(schedule, MEANS, points(0, 40), settings).sum(2)[:, 0].min() > 20 * np.log(8 / 5)


def test_the_own_group_makes_an_image_likelier_by_the_logarithm_of_its_share(schedule):
    # Well separated components: p(x | own) / p(x) = 4.
    settings = config.StepSchedule(kind="stride", first=1, last=998, stride=5)
    score = conditional_scores(schedule, points(2, 24), settings)
    np.testing.assert_array_equal(score.argmax(1), 2)
    assert score[:, 2].mean() == pytest.approx(np.log(4), abs=four_errors(score[:, 2]))


def test_another_group_makes_an_image_unlikelier_by_the_distance_to_it(schedule):
    # log p(x | other) / p(x) = log 4 + (|x - own|^2 - |x - other|^2) / (2 SCALE^2), -64 for x at its own mean when two
    # pixels differ by 1.2.
    settings = config.StepSchedule(kind="stride", first=1, last=998, stride=5)
    images = points(2, 16)
    x = (images.double() / 127.5 - 1).flatten(1)[:, None]
    exact = np.log(4) + ((x - MEANS[2]).square().sum(2) - (x - MEANS).square().sum(2)).numpy() / (2 * SCALE**2)
    others = [0, 1, 3]
    excess = conditional_scores(schedule, images, settings)[:, others] - exact[:, others]
    # As above, the terms are too large by O(1 / T).
    assert np.abs(excess.mean(0)).max() < 0.05 * np.abs(exact[:, others]).mean()
