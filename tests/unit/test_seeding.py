"""Noise that depends on its names alone, however it is asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from guda.core.seeding import derive_seed, gaussian

SHAPES = [(1, 8, 8), (3, 5, 7), (1, 1, 1)]


def fresh(seed: int, name: str, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """The same from a generator of its own."""
    bits = np.random.Philox(key=derive_seed("noise", seed, name, step))
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_that_of_a_generator_of_its_own(shape):
    """Whatever was asked for before, of whichever size: nothing is left over in the one that all share."""
    for step in (1, 999, 1):
        for name in ("query-000001", "ann/1.png"):
            assert np.array_equal(gaussian(3, name, step, shape), fresh(3, name, step, shape))
            gaussian(0, "other", step, (1, 3, 1))


def test_threads_do_not_disturb_each_other():
    names = [f"query-{number:06}" for number in range(200)]
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda name: gaussian(0, name, 5, (1, 16, 16)), names)]
    assert all(np.array_equal(noise, fresh(0, name, 5, (1, 16, 16))) for name, noise in zip(names, found, strict=True))
