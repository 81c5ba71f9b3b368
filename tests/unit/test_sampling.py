"""Generated images: each a function of the seed and its own id."""

import numpy as np
import pytest
import torch

from guda import config
from guda.noise import gaussian
from guda.sampling import BATCH_SIZE, generate

PROCESS = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
STEPS = 3
IDS = [f"q-{i:03}" for i in range(BATCH_SIZE + 6)]


class NoiseFromImage:
    """Knows the one image x that there is: e = (x_t - gamma x) / sigma."""

    image_shape = (1, 2, 2)

    def __init__(self, schedule, x):
        self.schedule, self.x = schedule, x

    def predict_noise(self, x_t, t, condition=None):
        gamma, sigma = (
            torch.tensor(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )
        return ((x_t - gamma * self.x) / sigma).float()


def test_images_are_uint8_of_the_network_shape(denoiser):
    images = generate(denoiser, PROCESS, IDS[:2], seed=0, steps=STEPS)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 1, 8, 8)


def test_an_image_does_not_depend_on_the_others(denoiser):
    # 70 ids are two batches; alone, out of order, and at the other end of a batch.
    together = generate(denoiser, PROCESS, IDS, seed=0, steps=STEPS)
    chosen = [69, 0, 33, 64]
    some = generate(denoiser, PROCESS, [IDS[i] for i in chosen], seed=0, steps=STEPS)
    assert torch.equal(some, together[chosen])
    assert torch.equal(generate(denoiser, PROCESS, [IDS[33]], seed=0, steps=STEPS), together[[33]])


def test_every_id_and_every_seed_gives_another_image(denoiser):
    one, other = (generate(denoiser, PROCESS, IDS[:20], seed=seed, steps=STEPS) for seed in (0, 1))
    assert len(torch.cat([one, other]).flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize("beta_schedule", ["squaredcos_cap_v2", "linear"])
def test_a_model_that_knows_one_image_generates_it(beta_schedule):
    from guda.noise_schedule import NoiseSchedule

    process = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule=beta_schedule)
    pixels = torch.tensor([[[0, 51], [204, 255]]], dtype=torch.uint8)
    model = NoiseFromImage(NoiseSchedule.from_config(process), pixels / 127.5 - 1)
    images = generate(model, process, ["a", "b"], seed=0, steps=10)
    assert torch.equal(images, pixels.expand(2, -1, -1, -1))


def test_first_noise_is_that_of_the_id_and_shared_with_no_elbo_step(denoiser):
    shown = []

    class Recorder(NoiseFromImage):
        def predict_noise(self, x_t, t, condition=None):
            shown.append((int(t[0]), x_t.clone()))
            return super().predict_noise(x_t, t)

    generate(Recorder(denoiser.schedule, torch.zeros(1, 2, 2)), PROCESS, ["a", "b"], seed=5, steps=4)
    # Trailing spacing: T/4 apart, beginning with the last step, where x_t is noise.
    assert [t for t, _ in shown] == [999, 749, 499, 249]
    np.testing.assert_array_equal(shown[0][1][1], gaussian(5, "b", 1000, (1, 2, 2)))


def test_generation_draws_nothing_from_the_global_generator(denoiser):
    state = torch.get_rng_state()
    generate(denoiser, PROCESS, IDS[:2], seed=0, steps=STEPS)
    assert torch.equal(torch.get_rng_state(), state)
