"""Maps of where in an image the evidence lies."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from guda.models.noise_schedule import step_weights
from guda.scoring.elbo import kl_terms
from guda.scoring.local import beyond_noise, kl_maps, region_terms, smoothed

STEPS = np.array([110, 300, 700, 990])
WEIGHTS = step_weights(STEPS, 110, 990)


class Memory:
    """Takes every noisy image for the one image [C, H, W] that it knows, a little wrong in a way of its own."""

    device = torch.device("cpu")

    def __init__(self, schedule, known):
        self.schedule, self.known = schedule, known

    def of(self, rows):
        return self

    def scales(self, t):
        return (
            torch.from_numpy(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )

    def add_noise(self, x, noise, t):
        gamma, sigma = self.scales(t)
        return gamma * x + sigma * noise

    def predict_noise(self, x_t, t):
        gamma, sigma = self.scales(t)
        return (x_t - gamma * self.known) / sigma + torch.sin(40 * x_t) / 20


def test_a_map_sums_to_the_terms_whatever_the_batch(denoiser, images):
    ids = [f"query-{index}" for index in range(len(images))]
    expected = kl_terms(denoiser, images, ids, STEPS, 3, 5).double().numpy() @ WEIGHTS
    for batch_size in (4, 64):
        maps = kl_maps(denoiser, images, ids, STEPS, WEIGHTS, 3, batch_size)
        assert maps.shape == (len(images), 8, 8)
        assert maps.sum(axis=(1, 2)) == pytest.approx(expected, rel=1e-5)


def test_terms_of_a_region_and_of_the_rest_are_those_of_the_image(denoiser, images):
    ids = [f"query-{index}" for index in range(len(images))]
    region = np.zeros((8, 8), dtype=bool)
    region[2:5, 1:8] = True
    parts = np.stack([region, ~region, np.ones_like(region)])
    terms = region_terms(denoiser, images, ids, STEPS, WEIGHTS, 3, 7, parts)
    assert terms.shape == (len(images), 3, len(STEPS))
    assert terms[:, 0] + terms[:, 1] == pytest.approx(terms[:, 2], rel=1e-9)
    of_steps = kl_terms(denoiser, images, ids, STEPS, 3, 5).double().numpy() * WEIGHTS
    assert terms[:, 2] == pytest.approx(of_steps, rel=1e-5)
    maps = kl_maps(denoiser, images, ids, STEPS, WEIGHTS, 3, 7)
    assert terms[:, 0].sum(axis=1) == pytest.approx(maps[:, region].sum(axis=1), rel=1e-9)


def test_each_half_of_a_collage_goes_to_its_own_group(schedule):
    """Two digits side by side, and models that know both or lack one: evidence for a digit lies in its half alone."""
    digits = load_digits()
    zero, one = (digits.images[digits.target == digit][0] for digit in (0, 1))
    pixels = np.round(np.hstack([zero, one]) * 255 / 16).astype(np.uint8)[None]
    collage, x = torch.from_numpy(pixels)[None], torch.from_numpy(pixels) / 127.5 - 1
    left = torch.arange(16) < 8

    def mapped(known, seed):
        return kl_maps(Memory(schedule, known), collage, ["collage"], STEPS, WEIGHTS, seed, 8)[0]

    for lacks in (left, ~left):
        without = torch.where(lacks, torch.zeros_like(x), x)
        maps = np.stack([mapped(without, seed) - mapped(x, seed) for seed in range(8)])
        assert np.abs(maps[:, :, ~lacks.numpy()]).max() == 0
        found = beyond_noise(maps) <= 0.05
        clear = (x[0].abs() > 0.1).numpy()  # where the image is not as gray as what is taken for it
        assert np.array_equal(found & clear, clear & lacks.numpy())
        assert not found[:, ~lacks.numpy()].any()


def test_smoothing_keeps_what_lies_inside():
    maps = np.zeros((2, 3, 15, 15))
    maps[0, 1, 7, 7] = 2.5
    assert smoothed(maps, 1.0).sum(axis=(2, 3)) == pytest.approx(maps.sum(axis=(2, 3)))
    assert np.array_equal(smoothed(maps, 0), maps)


def test_p_values_by_hand_of_two_draws():
    """The signs of two maps can be flipped in two ways that differ, so the least p is a half."""
    # Means 4 and 1 without an error; flipped 0 and 0. The median error is 0, so statistics are the means themselves.
    assert beyond_noise(np.array([[[4.0, 1.0]], [[4.0, 1.0]]])) == pytest.approx(np.array([[0.5, 0.5]]))
    # Means 2 and 0, errors 1 and 3, median 2: statistics 2 / 3 and 0. Flipped: means 1 and 3, errors 2 and 0, so 1 / 4
    # and 3 / 2, the largest of which beats both.
    assert beyond_noise(np.array([[[3.0, 3.0]], [[1.0, -3.0]]])) == pytest.approx(np.array([[1.0, 1.0]]))


def test_noise_passes_for_evidence_no_more_often_than_it_may():
    """In a twentieth of images of noise alone, at most, is any pixel found; one of a strong effect always is."""
    random = np.random.default_rng(0)
    maps = random.normal(size=(400, 8, 6, 6)) * random.gamma(1, size=(6, 6))
    found = [(beyond_noise(each) <= 0.05).any() for each in maps]
    assert np.mean(found) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    maps[:, :, 2, 3] += 60
    assert all(beyond_noise(each)[2, 3] == 1 / 128 for each in maps[:20])
