"""KL terms against a loop in float64, and their independence of everything but the image's own name."""

import numpy as np
import pytest
import torch

from guda.core.seeding import gaussian
from guda.scoring.elbo import kl_terms

STEPS = np.array([1, 40, 333, 998])
IDS = [f"query-{i}" for i in range(12)]


class RecordingDenoiser:
    """Predicts slope * x_t + t / 1000, and keeps what it was shown."""

    device = torch.device("cpu")

    def __init__(self, schedule, slope):
        self.schedule, self.slope = schedule, slope
        self.shown = []

    def of(self, rows):
        return self

    def add_noise(self, x, noise, t):
        gamma, sigma = (torch.from_numpy(scale)[t][:, None, None, None] for scale in self.scales())
        return gamma * x + sigma * noise

    def scales(self):
        return self.schedule.gammas, self.schedule.sigmas

    def predict_noise(self, x_t, t, condition=None):
        self.shown.append((t, x_t))
        return self.slope * x_t + t[:, None, None, None] / 1000


def test_terms_by_hand_in_float64(schedule, images):
    kl = kl_terms(RecordingDenoiser(schedule, 0.5), images, IDS, STEPS, seed=3, batch_size=5)
    expected = np.empty((12, 4))
    for row, image in enumerate(images.double().numpy()):
        for column, i in enumerate(STEPS):
            a, before = schedule.alphas_cumprod[i], schedule.alphas_cumprod[i - 1]
            e = gaussian(3, IDS[row], int(i), (1, 8, 8)).astype(np.float64)
            x_i = np.sqrt(a) * (image / 127.5 - 1) + np.sqrt(1 - a) * e
            weight = (before / (1 - before) / (a / (1 - a)) - 1) / 2
            expected[row, column] = weight * ((e - (0.5 * x_i + i / 1000)) ** 2).sum()
    assert kl.dtype == torch.float32
    np.testing.assert_allclose(kl.numpy(), expected, rtol=1e-6)


def test_perfect_prediction_costs_nothing(schedule):
    # All-black image, x = -1: e = (x_t + gamma) / sigma.
    class Perfect(RecordingDenoiser):
        device = torch.device("cpu")

        def predict_noise(self, x_t, t, condition=None):
            gamma, sigma = (torch.from_numpy(scale)[t][:, None, None, None] for scale in self.scales())
            return (x_t + gamma) / sigma

    black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    kl = kl_terms(Perfect(schedule, 0), black, IDS[:2], STEPS, seed=0, batch_size=3)
    assert kl.abs().max() < 1e-12


@pytest.mark.parametrize("batch_size", [1, 7, 48, 100])
def test_terms_do_not_depend_on_the_batch_size(denoiser, images, batch_size):
    reference = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    kl = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=batch_size)
    torch.testing.assert_close(kl, reference, rtol=1e-4, atol=0)


def test_terms_do_not_depend_on_order_or_on_which_other_images_exist(denoiser, images):
    reference = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    chosen = [7, 2, 11]
    kl = kl_terms(denoiser, images[chosen], [IDS[row] for row in chosen], STEPS, seed=0, batch_size=16)
    torch.testing.assert_close(kl, reference[chosen], rtol=1e-4, atol=0)


def test_terms_do_not_depend_on_which_other_steps_are_taken(denoiser, images):
    reference = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    kl = kl_terms(denoiser, images, IDS, STEPS[[2]], seed=0, batch_size=16)
    torch.testing.assert_close(kl, reference[:, [2]], rtol=1e-4, atol=0)


def test_two_models_see_the_same_noise(schedule, images):
    one, other = RecordingDenoiser(schedule, 0.5), RecordingDenoiser(schedule, -2)
    for model, batch_size in [(one, 5), (other, 11)]:
        kl_terms(model, images, IDS, STEPS, seed=4, batch_size=batch_size)
    for part in range(2):  # t, then x_t
        shown = [torch.cat([batch[part] for batch in model.shown]) for model in (one, other)]
        assert torch.equal(*shown)


def test_every_image_and_step_has_its_own_noise_and_the_seed_changes_all(schedule, images):
    def noisy(seed):
        model = RecordingDenoiser(schedule, 0)
        kl_terms(model, images[:1].expand(12, -1, -1, -1), IDS, np.array([997, 998]), seed=seed, batch_size=24)
        return model.shown[0][1].flatten(1)

    # One image under twelve names, steps at which x_t is noise: 24 distinct draws a seed.
    every = torch.cat([noisy(0), noisy(1)])
    assert torch.cdist(every, every).fill_diagonal_(torch.inf).min() > 1


def test_scoring_leaves_weights_and_global_generator_alone(denoiser, images):
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    state = torch.get_rng_state()
    kl = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    assert not kl.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in denoiser.state_dict().items())


def test_step_zero_is_refused(denoiser, images):
    with pytest.raises(ValueError, match="step 0 is the decoder term"):
        kl_terms(denoiser, images, IDS, np.array([0, 10]), seed=0, batch_size=16)


def test_in_bfloat16_only_the_network_is_less_precise(denoiser, images):
    reference = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    x, t = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((8,), 300)
    exact = denoiser.predict_noise(x, t)
    denoiser.precision = "bfloat16"
    predicted = denoiser.predict_noise(x, t)
    assert predicted.dtype == torch.float32
    # A number in bfloat16 has a relative error of 2^-9 at most; those of tens of layers add up to several times that.
    assert 0 < (predicted - exact).square().mean().sqrt() < 2**-5 * exact.square().mean().sqrt()
    kl = kl_terms(denoiser, images, IDS, STEPS, seed=0, batch_size=16)
    assert not torch.equal(kl, reference)
    torch.testing.assert_close(kl, reference, rtol=0.02, atol=0)
