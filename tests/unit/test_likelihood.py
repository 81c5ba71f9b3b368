"""The probability-flow ODE where the density is known: Gaussians and mixtures; and any flow's integrates to one."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from golden_inputs import fixed_denoiser

from guda import config
from guda.core.seeding import gaussian
from guda.models.noise_schedule import NoiseSchedule, end_of_signal
from guda.scoring.likelihood import divergence_along, evaluations, flow, integrate, log_likelihoods, log_normal
from guda.specs import LikelihoodSettings

PROCESS = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")
IDS = [f"query-{i}" for i in range(12)]
FOUR = 0.6 * torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, 0.5]], dtype=torch.float64)


def settings(**values):
    given = {"queries": 0, "first": 0, "steps": 1, "probes": 2, "seed": 3} | values
    return LikelihoodSettings(noise_schedule=PROCESS, **given)


class Mixture:
    """Bayes-optimal noise prediction for equally likely Gaussians N(mean, scale^2), images of as many pixels."""

    device = torch.device("cpu")

    def __init__(self, schedule, means, scale):
        self.schedule, self.means, self.scale = schedule, means, scale
        self.levels = torch.from_numpy(schedule.log_noise_ratios)

    def scales(self, t):
        """gamma and sigma, [B, 1], between steps too."""
        left = t.long().clamp(max=len(self.levels) - 2)
        u = torch.lerp(self.levels[left], self.levels[left + 1], t.double() - left)[:, None]
        return torch.sigmoid(-2 * u).sqrt(), torch.sigmoid(2 * u).sqrt()

    def add_noise(self, x, noise, t):
        gamma, sigma = (scale.reshape(-1, 1, 1, 1) for scale in self.scales(t))
        return gamma * x + sigma * noise

    def log_joint(self, x_t, t):
        """log p(component, x_t), [B, K]."""
        gamma, sigma = self.scales(t)
        variance = (gamma * self.scale) ** 2 + sigma**2
        flat = x_t.double().flatten(1)
        squared = (flat[:, None] - gamma[:, :, None] * self.means).square().sum(2)
        return (
            -squared / (2 * variance) - flat.shape[1] / 2 * (2 * torch.pi * variance).log() - math.log(len(self.means))
        )

    def log_density(self, x_t, t):
        return self.log_joint(x_t, t).logsumexp(1)

    def of(self, rows):
        return self

    def predict_noise(self, x_t, t, condition=None):
        """-sigma grad log p_t (Tweedie)."""
        gamma, sigma = self.scales(t)
        variance = (gamma * self.scale) ** 2 + sigma**2
        mean = self.log_joint(x_t, t).softmax(1) @ self.means
        return (sigma * (x_t.double().flatten(1) - gamma * mean) / variance).reshape(x_t.shape)


def points(means, n, scale=0.3):
    """uint8 [K n, 1, 2, 2]: n images of each of K Gaussians, rounded as images are."""
    drawn = torch.randn(len(means), n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = means[:, None] + scale * drawn
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).reshape(-1, 1, 2, 2)


def starts(denoiser, images, first, seed=3):
    """x_first of every image, and the step."""
    noise = np.stack([gaussian(seed, name, first, tuple(images.shape[1:])) for name in IDS[: len(images)]])
    t = torch.full((len(images),), first)
    return denoiser.add_noise(images / 127.5 - 1, torch.from_numpy(noise), t), t


# --- densities that are known ------------------------------------------------------------------------


def solved(denoiser, images, **values):
    return log_likelihoods(denoiser, images, IDS[: len(images)], settings(**values), batch_size=100)


@pytest.mark.parametrize("first", [0, 109, 600])
def test_a_gaussian_has_its_closed_form(schedule, first):
    ideal, images = Mixture(schedule, FOUR[:1], 0.3), points(FOUR[:1], 6)
    x_first, t = starts(ideal, images, first)
    expected = ideal.log_density(x_first, t)
    found = solved(ideal, images, first=first, steps=32)
    # At the end a hundredth of the image is left, which counts as none: |gamma mean| |x| is near 0.01 * 1.2 * 2.
    torch.testing.assert_close(found.mean(1), expected, rtol=0, atol=0.05)
    # The Jacobian is a multiple of one, so that every vector of signs gives the same.
    torch.testing.assert_close(found[:, 0], found[:, 1], rtol=0, atol=1e-4)


def test_the_error_falls_with_the_fourth_power_of_the_step(schedule):
    # The flow of a Gaussian in closed form: y = (x - gamma mean) / sqrt(v) stays, with v = gamma^2 scale^2 + sigma^2.
    ideal, images = Mixture(schedule, FOUR[:1], 0.05), points(FOUR[:1], 6, 0.05)
    x_first, _ = starts(ideal, images, 0)
    mean, gamma, sigma = ideal.means.reshape(1, 2, 2), schedule.gammas, schedule.sigmas
    end = end_of_signal(schedule)
    ratio = math.sqrt(((gamma[end] * 0.05) ** 2 + sigma[end] ** 2) / ((gamma[0] * 0.05) ** 2 + sigma[0] ** 2))
    x_end = gamma[end] * mean + ratio * (x_first - gamma[0] * mean)
    expected = log_normal(x_end) + 4 * math.log(ratio)
    errors = [(solved(ideal, images, steps=steps)[:, 0] - expected).abs().mean().item() for steps in (10, 20, 40)]
    assert errors[2] < 1e-2
    assert 11 < errors[0] / errors[1] < 22
    assert 11 < errors[1] / errors[2] < 22


def summed_over_all_signs(denoiser, x_first, first):
    """log p(x_first) with the mean of all sixteen sign vectors, which is the divergence itself; and their spread."""
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=4)), dtype=torch.float64).reshape(16, 1, 1, 2, 2)
    levels = denoiser.schedule.log_noise_ratios
    slope = flow(denoiser, levels, signs.expand(-1, len(x_first), -1, -1, -1))
    grid = np.linspace(levels[first], levels[end_of_signal(denoiser.schedule)], 33)
    end, divergence = integrate(slope, x_first.double(), 16, grid)
    return log_normal(end) + divergence.mean(1), divergence.std(1)


@pytest.mark.parametrize("first", [0, 200])
def test_a_mixture_has_its_closed_form(schedule, first):
    ideal, images = Mixture(schedule, FOUR, 0.3), points(FOUR, 6)
    x_first, t = starts(ideal, images, first)
    found, spread = summed_over_all_signs(ideal, x_first, first)
    torch.testing.assert_close(found, ideal.log_density(x_first, t), rtol=0, atol=0.05)
    assert spread.max() > 0.05  # a single vector would not do


def test_a_mixture_without_a_component_loses_what_its_density_does(schedule):
    full, without = Mixture(schedule, FOUR, 0.3), Mixture(schedule, FOUR[:1], 0.3)
    x_first, t = starts(full, points(FOUR, 3), 0)
    found = summed_over_all_signs(full, x_first, 0)[0] - summed_over_all_signs(without, x_first, 0)[0]
    expected = full.log_density(x_first, t) - without.log_density(x_first, t)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)
    # Points of the component that is kept: p_full is half of p_without. The others were nearly impossible.
    assert found[:3].tolist() == pytest.approx([-math.log(2)] * 3, abs=0.05)
    assert found[3:].min() > 5


def test_random_signs_estimate_it(schedule):
    ideal, images = Mixture(schedule, FOUR, 0.3), points(FOUR, 6)
    expected = ideal.log_density(*starts(ideal, images, 0))
    found = solved(ideal, images, probes=20, steps=16)
    spread = found.std(1) / math.sqrt(20)
    assert ((found.mean(1) - expected).abs() < 4 * spread + 0.05).all()
    assert spread.max() > 0.02


def test_the_density_of_any_flow_integrates_to_one(schedule):
    """One pixel and a made-up prediction, which is no diffusion's: the change of variables holds all the same."""

    class Bent(Mixture):
        def predict_noise(self, x_t, t, condition=None):
            return 0.5 * torch.tanh(x_t.double() - 0.2) + 0.3 * torch.sin(t / 200)[:, None, None, None]

    x = torch.linspace(-30, 30, 6001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    levels = schedule.log_noise_ratios
    slope = flow(Bent(schedule, None, None), levels, torch.ones(1, *x.shape, dtype=torch.float64))
    end, divergence = integrate(slope, x, 1, np.linspace(-2, 2, 17))
    density = (log_normal(end) + divergence[:, 0]).exp()
    assert density.sum() * 60 / 6000 == pytest.approx(1, abs=1e-3)
    assert (density.max() - log_normal(torch.zeros(1, 1)).exp()).abs() > 0.05  # and is not the normal one


# --- the divergence ----------------------------------------------------------------------------------


def test_the_mean_over_all_signs_is_the_trace():
    matrix = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    output = (x.flatten(1) @ matrix.T).reshape(x.shape)
    signs = [torch.tensor(sign, dtype=torch.float64).reshape(1, 2, 2) for sign in product([-1.0, 1.0], repeat=4)]
    found = torch.stack([divergence_along(output, x, sign.expand(3, -1, -1, -1)) for sign in signs])
    # v^T A v of one vector, and the trace as the mean of all: off the diagonal the signs cancel.
    assert found[5, 0] == pytest.approx((signs[5].flatten() @ matrix @ signs[5].flatten()).item())
    torch.testing.assert_close(found.mean(0), matrix.trace().expand(3))


# --- what the value depends on -----------------------------------------------------------------------


def test_the_same_model_twice_differs_by_nothing(denoiser, images):
    first, again = (log_likelihoods(denoiser, images[:9], IDS[:9], settings(), batch_size=5) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (9, 2)
    assert first.dtype == torch.float64


def test_two_models_see_the_same_starts_and_signs(schedule):
    class Recording(Mixture):
        def predict_noise(self, x_t, t, condition=None):
            self.shown = getattr(self, "shown", x_t.detach().clone())
            return super().predict_noise(x_t, t)

    images = points(FOUR, 2)
    one, other = Recording(schedule, FOUR, 0.3), Recording(schedule, FOUR[:1], 0.5)
    for model in (one, other):
        log_likelihoods(model, images, IDS[:4], settings(), batch_size=4)
    assert torch.equal(one.shown, other.shown)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_likelihoods_do_not_depend_on_the_batch_size(denoiser, images, batch_size):
    reference = log_likelihoods(denoiser, images[:9], IDS[:9], settings(), batch_size=5)
    found = log_likelihoods(denoiser, images[:9], IDS[:9], settings(), batch_size=batch_size)
    torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-3)


def test_likelihoods_do_not_depend_on_which_other_images_or_probes_exist(denoiser, images):
    reference = log_likelihoods(denoiser, images[:9], IDS[:9], settings(probes=3), batch_size=5)
    chosen = [7, 2]
    found = log_likelihoods(denoiser, images[chosen], [IDS[row] for row in chosen], settings(), batch_size=5)
    torch.testing.assert_close(found, reference[chosen, :2], rtol=1e-5, atol=1e-3)


def test_the_seed_moves_noise_and_signs(schedule):
    ideal, images = Mixture(schedule, FOUR, 0.3), points(FOUR, 2)
    assert (solved(ideal, images) - solved(ideal, images, seed=4)).abs().min() > 1e-3


def test_weights_get_no_gradient_and_the_global_generator_stays(denoiser, images):
    state = torch.get_rng_state()
    found = log_likelihoods(denoiser, images[:2], IDS[:2], settings(steps=1), batch_size=5)
    assert not found.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in denoiser.parameters())


def test_evaluations_by_hand():
    # Three steps of four slopes, each a forward pass and two backward ones, which count twice.
    assert evaluations(settings(steps=3)) == 3 * 4 * 5


# --- between steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_whole_float_step_is_the_step(tiny_unet, prediction, images):
    from guda.models.denoisers import new_denoiser

    process = PROCESS.model_copy(update={"prediction_type": prediction})
    denoiser = new_denoiser(tiny_unet, NoiseSchedule.from_config(process), (1, 8, 8)).eval()
    x_t, t = images[:5] / 127.5 - 1, torch.tensor([0, 1, 500, 998, 999])
    with torch.no_grad():
        whole, real = denoiser.predict_noise(x_t, t), denoiser.predict_noise(x_t, t.float())
    torch.testing.assert_close(real, whole, rtol=1e-4, atol=1e-5)


def test_between_steps_the_noise_ratio_is_interpolated(denoiser, schedule):
    gamma, sigma = (scale.flatten().double() for scale in denoiser.scales(torch.tensor([30.25, 700.5])))
    ratios = schedule.sigmas / schedule.gammas
    expected = [ratios[30] ** 0.75 * ratios[31] ** 0.25, ratios[700] ** 0.5 * ratios[701] ** 0.5]
    np.testing.assert_allclose(sigma / gamma, expected, rtol=1e-5)
    np.testing.assert_allclose(sigma**2 + gamma**2, 1, rtol=1e-6)


def test_the_signal_ends_at_a_hundredth_or_with_the_schedule(schedule):
    end = end_of_signal(schedule)
    assert schedule.gammas[end] <= 0.01 < schedule.gammas[end - 1]
    short = NoiseSchedule(np.array([0.9, 0.5, 0.2]), "epsilon")
    assert end_of_signal(short) == 2


def test_each_image_has_the_likelihood_under_its_own_condition(images):
    conditional, of = fixed_denoiser(n_labels=3), settings(steps=2)
    mixed = log_likelihoods(conditional.conditioned_on(torch.tensor([0, 1, 0])), images[:3], IDS[:3], of, 2)
    by_label = [
        log_likelihoods(conditional.conditioned_on(torch.tensor([label] * 3)), images[:3], IDS[:3], of, 3)
        for label in (0, 1)
    ]
    expected = torch.stack([by_label[0][0], by_label[1][1], by_label[0][2]])
    assert torch.allclose(mixed, expected, rtol=1e-5)
    assert not torch.allclose(by_label[0], by_label[1])


def test_a_density_of_latents_is_that_of_their_numbers(images):
    latents = images[:2].float() / 127.5 - 1
    of = settings(steps=2)
    expected = log_likelihoods(fixed_denoiser(), images[:2], IDS[:2], of, 2)
    assert torch.equal(log_likelihoods(fixed_denoiser(), latents, IDS[:2], of, 2), expected)
