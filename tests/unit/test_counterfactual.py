"""From weighted per-step terms to a score, its standard error and the confidence in the first place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda.methods.resampling import RESAMPLES, deviations, summarize

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 6))
TERMS = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-100, 100, width=16)))
SHARE_ERROR = 1 / (2 * np.sqrt(RESAMPLES))  # the largest standard error of a share of RESAMPLES draws, 0.016


def test_score_and_error_by_hand():
    # Sum 12. Deviations: ends (1 - 2)/sqrt 2 and (6 - 3)/sqrt 2; inside 2 - (1 + 3)/2 = 0 and 3 - (2 + 6)/2 = -1, times
    # sqrt(2/3). Squares: 1/2, 0, 2/3, 9/2, together 17/3. Four equal terms have none.
    score, se, _ = summarize(np.array([[[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]]]))
    np.testing.assert_allclose(score, [[12, 20]])
    np.testing.assert_allclose(se, [[np.sqrt(17 / 3), 0]], atol=1e-12)


def test_a_linear_trend_is_no_error():
    inner = deviations(np.linspace(3, -7, 9))[1:-1]
    np.testing.assert_allclose(inner, 0, atol=1e-12)


def test_error_is_the_spread_of_scores_over_noise():
    # A smooth trend of 0 .. 30 and independent errors of standard deviation 0.5 at 24 steps: the score's is
    # sqrt(24) / 2 = 2.45. The trend adds its curvature and, at the ends, half a slope squared: less than 0.4 here.
    generator = np.random.default_rng(0)
    trend = 30 * np.exp(-np.linspace(0, 5, 24)) * np.linspace(0, 1, 24)
    terms = trend + generator.normal(scale=0.5, size=(4000, 1, 24))
    score, se, _ = summarize(terms)
    assert score.std() == pytest.approx(np.sqrt(24) / 2, rel=0.05)
    assert np.sqrt((se**2).mean()) == pytest.approx(score.std(), rel=0.1)


def test_confidence_is_that_of_two_scores_with_these_errors():
    # Two groups whose scores differ by d with standard error s (of the difference): first with probability
    # Phi(d / s), for many steps.
    from scipy.stats import norm

    errors = np.random.default_rng(2).normal(size=(2, 400))
    s = np.sqrt(((deviations(errors)[0] - deviations(errors)[1]) ** 2).sum())
    for distance in (0.0, 0.5, 1.5):
        terms = errors - errors.mean(1, keepdims=True)
        terms[0] += distance * s / 400
        np.testing.assert_allclose(summarize(terms[None])[2][0, 0], norm.cdf(distance), atol=4 * SHARE_ERROR)


def test_errors_that_groups_share_do_not_blur_their_order():
    shared = np.random.default_rng(0).normal(scale=100, size=16)
    _, _, p_top1 = summarize(np.stack([shared, shared + 0.01])[None])
    assert p_top1.tolist() == [[0, 1]]


def test_a_group_far_ahead_is_certain():
    # It leads by 8 * 13 = 104 at least; no deviation exceeds 2, so all of them add up to 32 at most in the two groups.
    rest = np.random.default_rng(0).uniform(-1, 1, size=(5, 4, 8))
    rest[:, 2] = np.random.default_rng(1).uniform(14, 16, size=(5, 8))
    _, _, p_top1 = summarize(rest)
    np.testing.assert_array_equal(p_top1, np.tile([0, 0, 1, 0], (5, 1)))


@PROPERTY
@given(TERMS)
def test_score_is_the_sum_and_confidences_add_up_to_one(terms):
    score, se, p_top1 = summarize(terms)
    assert score.shape == se.shape == p_top1.shape == terms.shape[:2]
    np.testing.assert_allclose(score, sum(terms[..., step] for step in range(terms.shape[2])), atol=1e-9)
    np.testing.assert_allclose(p_top1.sum(1), 1, rtol=1e-12)
    assert (p_top1 >= 0).all()
    assert (se >= 0).all()


@PROPERTY
@given(TERMS)
def test_a_query_does_not_depend_on_the_others(terms):
    together = summarize(terms)
    alone = [summarize(terms[[row]]) for row in range(len(terms))]
    for part in range(3):
        np.testing.assert_allclose(together[part], np.concatenate([single[part] for single in alone]), atol=1e-9)


def test_groups_that_tie_in_a_resample_share_its_first_place():
    # Groups with the same images have the same models, hence the same terms.
    terms = np.random.default_rng(0).normal(size=(1, 3, 16))
    terms[:, 2] = terms[:, 0]
    terms[:, 1] -= 100
    assert summarize(terms)[2].tolist() == [[0.5, 0, 0.5]]
    # Wherever they stand: a matrix product may round its last rows otherwise than the others.
    (shares,) = summarize(np.tile(terms, (1, 12, 1))[:, :35])[2].reshape(1, -1)
    assert len(set(shares[0::3]) | set(shares[2::3])) == 1


def test_one_step_has_no_spread_to_show():
    score, se, p_top1 = summarize(np.array([[[2.0], [3.0]]]))
    assert score.tolist() == [[2, 3]]
    assert np.isnan(se).all()
    assert np.isnan(p_top1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_terms_that_are_not_finite_have_no_first_place(value):
    """numpy takes the first NaN for the largest, in all resamples: p_top1 was 1."""
    terms = np.ones((1, 2, 4))
    terms[0, 1, 2] = value
    with pytest.raises(FloatingPointError, match="1 of 8 values of 'terms' are not finite"):
        summarize(terms)


def test_confidence_is_repeatable():
    terms = np.random.default_rng(0).normal(size=(3, 4, 16))
    assert summarize(terms)[2] == pytest.approx(summarize(terms)[2], abs=0)
