"""Distances of images, by hand."""

import numpy as np
import pytest

from guda.evaluation.image_metrics import mse, ssim, window_means

C1, C2 = 2.55**2, 7.65**2


def constant(value, side=8, channels=1):
    return np.full((1, channels, side, side), value, dtype=np.uint8)


def test_equal_images_are_one_and_zero():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 9, 11), dtype=np.uint8)
    assert ssim(images, images) == pytest.approx(np.ones(3))
    assert mse(images, images).tolist() == [0, 0, 0]


def test_mean_squares_are_on_the_scale_of_one():
    assert mse(constant(0), constant(255)) == pytest.approx([1])
    assert mse(constant(51), constant(0)) == pytest.approx([0.04])


def test_constant_images_compare_by_their_means():
    """Without variance the second factor is 1, and (2 a b + C1) / (a^2 + b^2 + C1) is left."""
    expected = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(constant(100), constant(150)) == pytest.approx([expected])


def test_one_window_by_hand():
    """2x2 images, one window: x = 0 0 10 10, y = 0 10 0 10. Means 5, variances 25, covariance 0."""
    x = np.array([[[[0, 0], [10, 10]]]], dtype=np.uint8)
    y = np.array([[[[0, 10], [0, 10]]]], dtype=np.uint8)
    assert ssim(x, y) == pytest.approx([C2 / (50 + C2)])
    # Against its negative 10 - x, the covariance is -25.
    assert ssim(x, 10 - x) == pytest.approx([(C2 - 50) / (C2 + 50)])


def test_windows_lie_within_the_image():
    """Of 8x8 there are 2x2 windows of 7x7: a pixel in the corner is in one of them, one in the midst in all."""
    means = window_means(np.pad([[[[49.0]]]], ((0, 0), (0, 0), (0, 7), (0, 7))), 7)
    assert means.tolist() == [[[[1, 0], [0, 0]]]]
    means = window_means(np.pad([[[[49.0]]]], ((0, 0), (0, 0), (3, 4), (3, 4))), 7)
    assert means == pytest.approx(np.ones((1, 1, 2, 2)))


def test_images_and_channels_are_compared_one_by_one():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 256, (2, 4, 2, 8, 8), dtype=np.uint8)
    together = ssim(a, b)
    assert together == pytest.approx(np.concatenate([ssim(x[None], y[None]) for x, y in zip(a, b, strict=True)]))
    by_channel = [ssim(a[:, [channel]], b[:, [channel]]) for channel in range(2)]
    assert together == pytest.approx(np.mean(by_channel, axis=0))
    assert ssim(b, a) == pytest.approx(together)
