"""Generated images: each a function of the seed and its own id."""

import numpy as np
import pytest
import torch

from guda import config
from guda.core.seeding import gaussian
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import BATCH_SIZE, generate, plain

PROCESS = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
STEPS = 3
SAMPLERS = ["ddim", "ddpm", "dpmsolver++"]
IDS = [f"q-{i:03}" for i in range(BATCH_SIZE + 6)]


class NoiseFromImage:
    """Knows the one image x that there is: e = (x_t - gamma x) / sigma."""

    device = torch.device("cpu")
    image_shape = (1, 2, 2)

    def __init__(self, schedule, x):
        self.schedule, self.x = schedule, x

    def of(self, rows):
        return self

    def predict_noise(self, x_t, t, condition=None):
        gamma, sigma = (
            torch.tensor(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )
        return ((x_t - gamma * self.x) / sigma).float()


def test_images_are_uint8_of_the_network_shape(denoiser):
    images = generate(denoiser, PROCESS, IDS[:2], seed=0, steps=STEPS)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 1, 8, 8)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_that_are_not_finite_are_refused_not_gray(sampler):
    spoiled = NoiseFromImage(NoiseSchedule.from_config(PROCESS), torch.full((1, 2, 2), torch.nan))
    with pytest.raises(FloatingPointError, match="q-000: the model's sample is not finite"):
        generate(spoiled, PROCESS, IDS[:2], seed=0, steps=STEPS, sampler=sampler)


def test_images_of_one_color_are_found():
    images = torch.tensor([[5, 9], [5, 9], [6, 9]], dtype=torch.uint8)[:, :, None, None].expand(3, 2, 4, 4).clone()
    images[1, 1, 3, 3] = 8
    assert plain(images).tolist() == [True, False, True]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_does_not_depend_on_the_others(denoiser, sampler):
    # 70 ids are two batches; alone, out of order, and at the other end of a batch.
    def generated(ids):
        return generate(denoiser, PROCESS, ids, 0, STEPS, sampler)

    together, chosen = generated(IDS), [69, 0, 33, 64]
    assert torch.equal(generated([IDS[i] for i in chosen]), together[chosen])
    assert torch.equal(generated([IDS[33]]), together[[33]])


def test_samplers_generate_different_images(denoiser):
    images = [generate(denoiser, PROCESS, IDS[:2], 0, STEPS, sampler) for sampler in SAMPLERS]
    assert len(torch.stack(images).flatten(1).unique(dim=0)) == 3
    assert torch.equal(generate(denoiser, PROCESS, IDS[:2], 0, STEPS), images[0])


def test_every_id_and_every_seed_gives_another_image(denoiser):
    one, other = (generate(denoiser, PROCESS, IDS[:20], seed=seed, steps=STEPS) for seed in (0, 1))
    assert len(torch.cat([one, other]).flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("beta_schedule", ["squaredcos_cap_v2", "linear"])
def test_a_model_that_knows_one_image_generates_it(beta_schedule, sampler):
    process = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule=beta_schedule)
    pixels = torch.tensor([[[0, 51], [204, 255]]], dtype=torch.uint8)
    model = NoiseFromImage(NoiseSchedule.from_config(process), pixels / 127.5 - 1)
    images = generate(model, process, ["a", "b"], 0, 10, sampler)
    assert torch.equal(images, pixels.expand(2, -1, -1, -1))


def test_first_noise_is_that_of_the_id_and_shared_with_no_elbo_step(denoiser):
    shown = []

    class Recorder(NoiseFromImage):
        device = torch.device("cpu")

        def of(self, rows):
            return self

        def predict_noise(self, x_t, t, condition=None):
            shown.append((int(t[0]), x_t.clone()))
            return super().predict_noise(x_t, t)

    generate(Recorder(denoiser.schedule, torch.zeros(1, 2, 2)), PROCESS, ["a", "b"], seed=5, steps=4)
    # Trailing spacing: T/4 apart, beginning with the last step, where x_t is noise.
    assert [t for t, _ in shown] == [999, 749, 499, 249]
    np.testing.assert_array_equal(shown[0][1][1], gaussian(5, "b", 1000, (1, 2, 2)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_generation_draws_nothing_from_the_global_generator(denoiser, sampler):
    state = torch.get_rng_state()
    generate(denoiser, PROCESS, IDS[:2], 0, STEPS, sampler)
    assert torch.equal(torch.get_rng_state(), state)


class GaussianData:
    """The ideal denoiser of data whose every pixel is drawn from N(MEAN, SCALE^2)."""

    device = torch.device("cpu")
    image_shape = (1, 8, 8)
    MEAN, SCALE = 0.2, 0.2

    def __init__(self, settings):
        schedule = NoiseSchedule.from_config(settings)
        self.gammas, self.sigmas = torch.from_numpy(schedule.gammas), torch.from_numpy(schedule.sigmas)

    def of(self, rows):
        return self

    def predict_noise(self, x_t, t, condition=None):
        """sigma (x_t - gamma MEAN) / Var(x_t), Tweedie's formula."""
        gamma, sigma = self.gammas[t][:, None, None, None], self.sigmas[t][:, None, None, None]
        variance = (gamma * self.SCALE) ** 2 + sigma**2
        return (sigma * (x_t - gamma * self.MEAN) / variance).float()


PROCESSES = {
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "linear": {"beta_schedule": "linear"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "wide": {"beta_schedule": "linear", "beta_start": 5e-5, "beta_end": 0.04},
    "scaled": {"beta_schedule": "scaled_linear", "num_train_timesteps": 4000, "beta_start": 2e-5, "beta_end": 0.006},
}


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 500), ("ddpm", 500), ("dpmsolver++", 100)])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_many_steps_reproduce_the_mean_and_the_variance_of_the_data(process, sampler, steps):
    settings = config.NoiseSchedule(**{"num_train_timesteps": 1000} | process)
    images = generate(GaussianData(settings), settings, IDS[:BATCH_SIZE], 0, steps, sampler)
    pixels = images.double() / 127.5 - 1
    # 64 x 64 independent pixels; of the mean and the deviation four standard errors, and 2 % for the finite steps.
    error = GaussianData.SCALE / 64
    assert pixels.mean() == pytest.approx(GaussianData.MEAN, abs=4 * error)
    assert pixels.std() == pytest.approx(GaussianData.SCALE, abs=4 * error / 2**0.5 + 0.02 * GaussianData.SCALE)


def test_the_solver_of_second_order_needs_fewer_steps():
    # The deviation's error at 25 steps: of first order it falls as 1 / steps, of second order faster.
    def error(sampler):
        images = generate(GaussianData(PROCESS), PROCESS, IDS[:BATCH_SIZE], 0, 25, sampler).double() / 127.5 - 1
        exact = generate(GaussianData(PROCESS), PROCESS, IDS[:BATCH_SIZE], 0, 1000, sampler).double() / 127.5 - 1
        return abs(images.std() - exact.std())

    assert error("dpmsolver++") < error("ddim") / 2


def test_ancestral_steps_by_hand():
    """Ho et al. 2020, algorithm 2, over every second of ten steps, with noise that no score draws."""
    process = config.NoiseSchedule(num_train_timesteps=10, beta_schedule="linear", beta_start=0.05, beta_end=0.3)
    model, a = GaussianData(process), NoiseSchedule.from_config(process).alphas_cumprod
    x = gaussian(3, "q", 10, (1, 8, 8)).astype(np.float64)
    for t, before in [(9, 7), (7, 5), (5, 3), (3, 1), (1, None)]:
        noise = model.predict_noise(torch.from_numpy(x)[None], torch.tensor([t]))[0].double().numpy()
        clean = np.clip((x - (1 - a[t]) ** 0.5 * noise) / a[t] ** 0.5, -1, 1)
        kept = 1.0 if before is None else a[before]
        alpha = a[t] / kept
        mean = kept**0.5 * (1 - alpha) / (1 - a[t]) * clean + alpha**0.5 * (1 - kept) / (1 - a[t]) * x
        deviation = ((1 - kept) / (1 - a[t]) * (1 - alpha)) ** 0.5
        x = mean + deviation * gaussian(3, "q", 11 + t, (1, 8, 8))
    expected = np.rint((np.clip(x, -1, 1) + 1) * 127.5)
    images = generate(model, process, ["q"], 3, 5, "ddpm")
    # float32 inside diffusers: a pixel that lies between two levels may fall on the other.
    assert np.abs(images[0].double().numpy() - expected).max() <= 1
    assert (images[0].double().numpy() == expected).mean() > 0.9
