"""Metrics across images: effects, kappa, and decisive images, against numbers worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_metrics import PROPERTY, tied_pairs, untied_pairs

from guda.evaluation import effects, metrics, relevance


def test_effect_is_correlated_over_images():
    # First-place scores 5, 1, 3 (ranks 3, 1, 2) and 2, 4, 6 (1, 2, 3): 1 - 6 * (4 + 1 + 1) / (3 * 8).
    scores = [[5, 0], [1, 0], [0, 3]]
    oracle = [[2, 1], [4, -4], [-3, 6]]
    assert effects.effect_spearman(scores, oracle) == pytest.approx(-0.5)
    assert effects.effect_spearman(scores, scores) == 1


def test_effect_that_does_not_vary_is_zero():
    constant, varying = [[1, 0], [0, 1]], [[1, 0], [2, 0]]
    assert effects.effect_spearman(constant, varying) == 0
    assert effects.effect_spearman(varying, constant) == 0
    assert effects.effect_spearman(varying[:1], varying[:1]) == 0


def test_what_is_left_of_the_first_score():
    # Means 2, 0 and 3; the second scores are 3, 0 and 3, the last a tie.
    scores = [[4, 3, -1], [6, 0, -6], [3, 3, 3]]
    assert effects.level(scores).tolist() == [4, 6, 3]
    assert effects.contrast(scores).tolist() == [2, 6, 0]
    assert effects.margin(scores).tolist() == [1, 6, 0]
    assert effects.contrast([[0.1] * 3]).tolist() == [0]  # though the mean of three times 0.1 is not 0.1


def test_size_ratio_is_the_median_ratio_of_the_contrasts():
    # Contrasts 4, 1, 6 and 5 against 2, 4, 3 and 0: ratios 2, 1/4 and 2; the last has nothing to be compared with.
    scores = [[6, 0, 0], [3, 2, 1], [0, 9, 0], [-5, -5, 2.5]]
    oracle = [[-1, -4, -4], [8, 2, 2], [1, 4, -2], [7, 7, 7]]
    assert effects.contrast(scores).tolist() == [4, 1, 6, 5]
    assert effects.contrast(oracle).tolist() == [2, 4, 3, 0]
    assert effects.size_ratio(scores, oracle) == 2
    assert effects.size_ratio(scores[:2], oracle[:2]) == (2 + 1 / 4) / 2
    assert effects.size_ratio([[1, 1]], [[0, 3]]) == 0
    assert math.isnan(effects.size_ratio(scores[3:], oracle[3:]))


def test_contrast_and_margin_are_correlated_over_images():
    # The oracle's contrasts 2, 6, 4 and margins 1, 6, 3 both have the ranks 1, 3, 2.
    oracle = [[4, 3, -1], [6, 0, -6], [5, 2, -4]]
    scores = [[2, 0, 1], [9, 7, 5], [4, 3, -4]]
    assert effects.contrast(scores).tolist() == [1, 2, 3]
    assert effects.contrast_spearman(scores, oracle) == pytest.approx(1 - 6 * 2 / 24)
    assert effects.margin(scores).tolist() == [1, 2, 1]
    # Centered average ranks (-.5 1 -.5) and (-1 1 0): 1.5 / sqrt(1.5 * 2).
    assert effects.margin_spearman(scores, oracle) == pytest.approx(math.sqrt(3) / 2)


@PROPERTY
@given(tied_pairs(), st.randoms(use_true_random=False))
def test_what_the_groups_of_a_query_share_cancels_in_contrast_and_margin(pair, random):
    scores, oracle = pair
    shared = np.array([[random.randint(-50, 50)] for _ in scores])
    for metric in (effects.contrast_spearman, effects.margin_spearman):
        assert metric(scores + shared, oracle) == metric(scores, oracle + shared) == metric(scores, oracle)


def one_hot(groups, n_groups):
    return np.eye(n_groups)[groups]


def test_kappa_of_a_confusion_matrix():
    """Rows the oracle's first group, columns the method's: [[20, 5], [10, 15]], as in Cohen's example.

    p_o = 35/50; p_e = (25/50)(30/50) + (25/50)(20/50) = 1/2; kappa = (0.7 - 0.5) / 0.5.
    """
    wanted, found = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]), np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    scores, oracle = one_hot(found, 2), one_hot(wanted, 2)
    assert metrics.kappa(scores, oracle) == pytest.approx(0.4)
    assert metrics.top1_balanced(scores, oracle) == pytest.approx((20 / 25 + 15 / 25) / 2)
    # A third group that nobody puts first changes nothing.
    aside = np.full((50, 1), -1.0)
    assert metrics.kappa(np.hstack([scores, aside]), np.hstack([oracle, aside])) == pytest.approx(0.4)
    assert metrics.top1_balanced(np.hstack([scores, aside]), np.hstack([oracle, aside])) == pytest.approx(0.7)


def test_kappa_and_balanced_top1_where_first_places_are_shared():
    # First places 1 0, 1/2 1/2 and 0 1 against 1 0, 1 0 and 1/2 1/2: p_o = (1 + 1/2 + 1/2) / 3; both marginals are
    # 1/2 1/2 and 5/6 1/6: p_e = 1/2.
    scores, oracle = [[2, 1], [1, 1], [0, 1]], [[1, 0], [1, 0], [3, 3]]
    assert metrics.kappa(scores, oracle) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    # Group 0 is first 2.5 times and met 1.5 times, group 1 half a time, and met.
    assert metrics.top1_balanced(scores, oracle) == pytest.approx((1.5 / 2.5 + 1) / 2)


def test_kappa_of_one_answer_for_all_is_zero():
    oracle = one_hot([0, 0, 0, 1, 2], 3)
    for answer in range(3):
        assert metrics.kappa(one_hot([answer] * 5, 3), oracle) == 0
        assert metrics.top1_balanced(one_hot([answer] * 5, 3), oracle) == pytest.approx(1 / 3)
    assert metrics.kappa(one_hot([1] * 5, 3), one_hot([1] * 5, 3)) == 0
    assert metrics.kappa(oracle, oracle) == metrics.top1_balanced(oracle, oracle) == 1
    # Of two groups each the other's: p_o = 0, p_e = 1/2.
    assert metrics.kappa([[1, 0], [0, 1]], [[0, 1], [1, 0]]) == -1


@PROPERTY
@given(st.integers(1, 3).flatmap(lambda n: st.tuples(*[arrays(np.int64, (n, 3), elements=st.integers(0, 2))] * 2)))
def test_shared_first_places_are_those_of_all_orders_of_the_tied(pair):
    """Every query in every order of its tied groups, of both sides apart, all equally often."""
    orders = 1e-9 * np.array(list(itertools.permutations(range(3))))
    found, wanted = (np.add(values[:, None], orders) for values in pair)
    scores = np.concatenate([np.repeat(query, 6, axis=0) for query in found])
    oracle = np.concatenate([np.tile(query, (6, 1)) for query in wanted])
    for metric in (metrics.kappa, metrics.top1_balanced):
        assert metric(*pair) == pytest.approx(metric(scores, oracle), abs=1e-12)


@PROPERTY
@given(untied_pairs())
def test_kappa_is_cohens(pair):
    """By its definition, from the counts of a confusion matrix."""
    found, wanted = (matrix.argmax(axis=1) for matrix in pair)
    n, n_groups = pair[0].shape
    counts = np.zeros((n_groups, n_groups))
    np.add.at(counts, (wanted, found), 1)
    chance = (counts.sum(axis=0) * counts.sum(axis=1)).sum() / n**2
    expected = (np.trace(counts) / n - chance) / (1 - chance) if chance < 1 else 0
    assert metrics.kappa(*pair) == pytest.approx(expected, abs=1e-12)
    first = counts.sum(axis=1) > 0
    recall = np.diag(counts)[first] / counts.sum(axis=1)[first]
    assert metrics.top1_balanced(*pair) == pytest.approx(recall.mean())


DECISIVE_CASES = [
    # One seed's scores, the other's, and whether the image is decisive.
    ([4, 2, 0], [6, 1, 1], True),  # 4 is just twice 2
    ([4, 2.1, 0], [6, 1, 1], False),  # not twice in the first seed
    ([6, 1, 1], [4, 2.1, 0], False),  # nor in the second
    ([4, 1, 0], [1, 4, 0], False),  # the seeds disagree on the group
    ([-1, -5, -9], [-1, -5, -9], False),  # first, but harmful
    ([0, -1, -2], [0, -1, -2], False),  # zero is not positive
    ([1, -1, -2], [0, -2, 3], False),
    ([-1, 1, -2], [-1, 3, -2], True),  # twice a negative second
    ([3, 3, 0], [3, 3, 0], False),  # tied
]


def test_decisive_images():
    first, second, expected = zip(*DECISIVE_CASES, strict=True)
    found = relevance.decisive([first, second])
    assert found.dtype == bool
    assert found.tolist() == list(expected)


def test_decisive_ratio():
    assert relevance.decisive([[[4, 2.1, 0]]], ratio=1.9).tolist() == [True]
    assert relevance.decisive([[[4, 2, 0]]], ratio=2.1).tolist() == [False]
    assert relevance.decisive([[[4, 4, 0], [4, 3, 0]]], ratio=1).tolist() == [False, True]  # no group is first alone


def test_auroc_of_the_first_place_score():
    # Decisive 3 and 2 against 2 and 1: three wins and a tie of four.
    scores = [[3, 0], [0, 2], [2, 1], [1, 1]]
    assert relevance.decisive_auroc(scores, [True, True, False, False]) == 3.5 / 4
    assert relevance.decisive_auroc(scores, [False, False, True, True]) == 0.5 / 4
    assert relevance.decisive_auroc([[1, 0]] * 3, [True, False, False]) == 0.5


def test_auroc_of_the_margin():
    # Margins 3, 1, 1 and 0; decisive 3 and 1 against 1 and 0: three wins and a tie. By level, 5 and 9 against 8 and 9.
    scores = [[5, 2], [8, 9], [8, 7], [9, 9]]
    assert relevance.decisive_auroc_margin(scores, [True, True, False, False]) == 3.5 / 4
    assert relevance.decisive_auroc(scores, [True, True, False, False]) == 1.5 / 4


@pytest.mark.parametrize("value", [True, False])
def test_auroc_needs_both_kinds(value):
    assert math.isnan(relevance.decisive_auroc([[3, 0], [0, 2]], [value, value]))
    assert math.isnan(relevance.decisive_auroc_margin([[3, 0], [0, 2]], [value, value]))
