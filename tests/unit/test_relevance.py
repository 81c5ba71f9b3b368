"""Relevant groups, and the precision with which scores find them: by hand, and as scikit-learn has it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from guda.evaluation.relevance import average_precision, decisive, lrap, relevant

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
# One image each: scores by two seeds, and which groups are relevant with ratio 2.
CASES = [
    ([4, 3, 1], [4, 3, 1], [1, 1, 0]),
    ([4, 2, 0], [4, 2.1, 0], [1, 0, 0]),  # 4 is just twice 2 in one seed
    ([4, 3, 0], [1, 4, 0], [0, 1, 0]),  # the first of one seed is a quarter of the other's
    ([4, 1, 0], [1, 4, 0], [0, 0, 0]),  # the seeds disagree
    ([3, 3, 0], [3, 3, 0], [1, 1, 0]),
    ([-1, -1.5, -9], [-1, -1.5, -9], [0, 0, 0]),  # less harmful than others is no effect
    ([0, 0, 0], [0, 0, 0], [0, 0, 0]),
]


@st.composite
def judged(draw):
    """Scores with ties, and which groups are relevant."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 7)))
    return draw(arrays(np.float64, shape, elements=st.integers(-3, 3))), draw(arrays(bool, shape))


def test_a_group_is_relevant_when_every_seed_puts_it_near_the_first():
    first, second, expected = zip(*CASES, strict=True)
    assert relevant([first, second]).astype(int).tolist() == list(map(list, expected))


@pytest.mark.parametrize("ratio", [1, 1.5, 2, 5])
def test_of_a_decisive_image_only_the_first_group_is_relevant(ratio):
    generator = np.random.default_rng(0)
    first = generator.integers(-2, 30, size=(400, 4)) * generator.integers(0, 2, size=(400, 4))
    seeds = [first, first + generator.integers(-1, 2, size=(400, 4))]
    is_decisive = decisive(seeds, ratio)
    assert 20 < is_decisive.sum() < 380
    found = relevant(seeds, ratio)[is_decisive]
    assert (found == np.eye(4, dtype=bool)[seeds[0][is_decisive].argmax(1)]).all()


def test_precision_by_hand():
    """The first image: places 1 and 3 of its relevant groups, (1/1 + 2/3) / 2. The second: 1 of the 3 that tie above.

    As one ranking: 9 (no), 5 and 5 (one of them), 4 (no), 3, 3 and 3 (two), so 1/3, 3/7 and 3/7.
    """
    scores = [[5, 4, 3, 2], [3, 3, 9, 0], [5, 1, 1, 1]]
    is_relevant = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    assert lrap(scores, is_relevant) == pytest.approx((5 / 6 + 1 / 3) / 2)  # the third has none to be found
    assert average_precision(scores, is_relevant) == pytest.approx((1 / 3 + 3 / 7 + 3 / 7) / 3)
    assert lrap([[2, 2, 2]], [[True, False, False]]) == pytest.approx(1 / 3)


@PROPERTY
@given(judged())
def test_both_are_what_scikit_learn_says(case):
    scores, is_relevant = case
    told = is_relevant.any(1) & ~is_relevant.all(1)
    if told.any():
        expected = label_ranking_average_precision_score(is_relevant[told], scores[told])
        assert lrap(scores, is_relevant) == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(lrap(scores, is_relevant))
    if is_relevant.any() and not is_relevant.all():
        expected = average_precision_score(is_relevant.ravel(), scores.ravel())
        assert average_precision(scores, is_relevant) == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(average_precision(scores, is_relevant))


@pytest.mark.parametrize("measure", [lrap, average_precision])
def test_relevance_of_another_shape_is_refused(measure):
    with pytest.raises(ValueError, match=r"is_relevant must have shape \(1, 2\), found \(2,\)"):
        measure([[1, 2]], [True, False])
