"""Noise and seeds: functions of their names alone, with a stream that may not move unnoticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guda.core.seeding import derive_seed, gaussian, rademacher, uniform

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
NAMES = st.text(
    st.characters(codec="utf-8", min_codepoint=32), max_size=8
)  # printable: the separator is a control character
PARTS = st.lists(NAMES, min_size=1, max_size=4)
SEEDS = st.integers(0, 2**63 - 1)
STEPS = st.integers(0, 4000)


def test_noise_stream_is_pinned():
    # Recorded once. A difference here changes every ELBO, so it must raise the version of the stages that use noise.
    np.testing.assert_allclose(
        gaussian(7, "q-00012", 500, (1, 2, 3)),
        [[[-0.8163163, -0.89156175, 0.5694246], [0.08052301, 0.2175104, -0.7720446]]],
        rtol=1e-6,
    )


def test_signs_are_pinned_and_even():
    # Recorded once. A difference here raises the version of the stage `likelihood`.
    assert rademacher(7, "q-00012", 2, (1, 2, 2)).ravel().tolist() == [-1, 1, 1, 1, -1, 1, -1, -1]
    many = rademacher(7, "q-00012", 3, (3, 50, 50))
    assert many.shape == (3, 3, 50, 50)
    assert set(np.unique(many)) == {-1, 1}
    # Each of three pairs of 7500 products of signs has a mean of 0 with a standard error of 0.0115.
    assert abs(many.mean()) < 0.03
    assert np.abs(np.einsum("iabc,jabc->ij", many, many)[~np.eye(3, dtype=bool)]).max() / 7500 < 0.05
    np.testing.assert_array_equal(rademacher(7, "q-00012", 1, (3, 50, 50)), many[:1])


def test_seeds_are_pinned():
    # First 8 bytes of SHA-256 of "a\x1f1", halved; of the empty text, e3b0c44298fc1c14, halved.
    assert derive_seed("a", 1) == 4742018630964328543
    assert derive_seed() == 0xE3B0C44298FC1C14 // 2
    assert uniform("a", 1) == 4742018630964328543 / 2**63


@PROPERTY
@given(SEEDS, NAMES, STEPS, st.randoms(use_true_random=False))
def test_noise_does_not_depend_on_what_was_drawn_before(seed, name, step, random):
    alone = gaussian(seed, name, step, (2, 3))
    others = [(seed, name, step), (seed, name, step + 1), (seed, name + "'", step), (0, "other", 1)]
    random.shuffle(others)
    drawn = {key: gaussian(*key, (2, 3)) for key in others}
    np.testing.assert_array_equal(drawn[seed, name, step], alone)


@PROPERTY
@given(SEEDS, NAMES, STEPS)
def test_noise_differs_when_seed_sample_or_step_differs(seed, name, step):
    noise = gaussian(seed, name, step, (8,))
    for other in [(seed + 1, name, step), (seed, name + "x", step), (seed, name, step + 1)]:
        assert not np.isclose(gaussian(*other, (8,)), noise).all()


def test_noise_leaves_the_global_generator_alone():
    np.random.seed(3)
    expected = np.random.random(4)
    np.random.seed(3)
    gaussian(0, "a", 1, (5,))
    np.testing.assert_array_equal(np.random.random(4), expected)


def test_noise_is_float32_of_the_shape_asked_for():
    noise = gaussian(0, "a", 1, (3, 4, 5))
    assert noise.dtype == np.float32
    assert noise.shape == (3, 4, 5)


@pytest.mark.parametrize(
    "names",
    [
        [(0, f"image-{i}", 10) for i in range(2000)],
        [(0, "image", i) for i in range(2000)],
        [(i, "image", 10) for i in range(2000)],
    ],
    ids=["over samples", "over steps", "over seeds"],
)
def test_noise_is_standard_normal_and_uncorrelated(names):
    draws = np.stack([gaussian(*name, (8,)) for name in names]).astype(np.float64)
    n = draws.size
    # Standard errors: 1/sqrt(n) of the mean, sqrt(2/n) of the variance, sqrt(96/n) of the fourth moment
    # (E z^8 - 3^2 = 105 - 9), 1/sqrt(n) of a correlation. Four of each.
    assert abs(draws.mean()) < 4 / np.sqrt(n)
    assert abs(draws.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((draws**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs((draws[:-1] * draws[1:]).mean()) < 4 / np.sqrt(n - 8)


@PROPERTY
@given(st.lists(NAMES | SEEDS, max_size=4))
def test_seeds_fit_63_bits_and_uniform_lies_in_the_unit_interval(parts):
    assert 0 <= derive_seed(*parts) < 2**63
    assert 0 <= uniform(*parts) < 1


def test_parts_of_a_seed_do_not_run_together():
    assert derive_seed("a", "bc") != derive_seed("ab", "c")
    assert derive_seed("a", "") != derive_seed("a")
    assert derive_seed(1, 23) != derive_seed(12, 3)


@PROPERTY
@given(PARTS, PARTS)
def test_different_parts_give_different_seeds(one, other):
    assert (derive_seed(*one) == derive_seed(*other)) == (one == other)


def test_uniform_is_uniform():
    draws = np.array([uniform("random", 0, f"query-{i}", "group") for i in range(4000)])
    counts = np.bincount((draws * 10).astype(int), minlength=10)
    # Chi-squared with 9 degrees of freedom: mean 9, standard deviation sqrt(18).
    assert ((counts - 400) ** 2 / 400).sum() < 9 + 4 * np.sqrt(18)
