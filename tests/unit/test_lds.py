"""The linear datamodeling score: subsets of groups, and correlations worked out by hand."""

import numpy as np
import pytest

from guda.config import Lds
from guda.evaluation.group_values import group_values
from guda.evaluation.lds import held_out_lds, lds, lds_table
from guda.evaluation.subsets import kept_by_subset, kept_matrix, size_weights, ways

GROUPS = ["amber", "birch", "cedar", "dune", "ember", "flint"]
# Each two of three groups.
PAIRS = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)


def drawn(**settings):
    """Which of GROUPS each subset keeps."""
    return kept_matrix(GROUPS, kept_by_subset(GROUPS, Lds(**settings)))


@pytest.mark.parametrize(("alpha", "count", "ways"), [(0.5, 3, 20), (0.3, 2, 15), (0.9, 5, 6), (0.1, 1, 6)])
def test_a_subset_keeps_its_share_of_the_groups_and_none_comes_twice(alpha, count, ways):
    kept = drawn(alpha=alpha, subsets=ways)
    assert kept.shape == (ways, 6)
    assert (kept.sum(1) == count).all()
    assert len(np.unique(kept, axis=0)) == ways


def test_a_subset_depends_on_seed_and_number_alone():
    few, many = kept_by_subset(GROUPS, Lds(subsets=3)), kept_by_subset(GROUPS, Lds(subsets=9))
    assert few == many[:3]
    assert many != kept_by_subset(GROUPS, Lds(subsets=9, seed=1))
    reordered = kept_by_subset(list(reversed(GROUPS)), Lds(subsets=9))
    assert [sorted(kept) for kept in reordered] == many


def test_every_group_is_kept_as_often():
    """Over seeds: of the first subset, half of the time; four standard errors."""
    share = np.mean([drawn(subsets=2, seed=seed)[0] for seed in range(1000)], axis=0)
    assert np.abs(share - 0.5).max() < 4 * np.sqrt(0.25 / 1000)


@pytest.mark.parametrize("value", ["shapley", "banzhaf"])
def test_sizes_are_drawn_as_a_value_weighs_them(value):
    """Over seeds, of the first subset: five standard errors. All 62 subsets of 6 groups can be drawn, once each."""
    sizes = [drawn(sizes=value, subsets=2, seed=seed)[0].sum() for seed in range(2000)]
    expected = size_weights(value, 6)[1:-1] / size_weights(value, 6)[1:-1].sum()
    assert np.abs(np.bincount(sizes, minlength=6)[1:] / 2000 - expected).max() < 5 * np.sqrt(0.25 / 2000)
    every = drawn(sizes=value, subsets=62)
    assert ways(6, Lds(sizes=value)) == 62
    assert len(np.unique(every, axis=0)) == 62
    assert every[:9].tolist() == drawn(sizes=value, subsets=9).tolist()
    assert set(every.sum(1)) == {1, 2, 3, 4, 5}


def test_images_in_no_group_are_a_subset_of_their_own_the_first():
    rest, usual = (kept_by_subset(GROUPS, Lds(sizes="shapley", subsets=9), each) for each in (True, False))
    assert rest == [[], *usual[:8]]
    assert kept_by_subset(GROUPS, Lds(subsets=9), True) == kept_by_subset(GROUPS, Lds(subsets=9))


def test_additive_outputs_give_one_and_their_opposites_minus_one():
    generator = np.random.default_rng(0)
    scores, kept = generator.normal(size=(5, 6)), drawn(subsets=20)
    outputs = scores @ kept.T + generator.normal(size=(5, 1))  # each query has a constant of its own
    assert lds(scores, kept, outputs) == pytest.approx(np.ones(5))
    assert lds(scores, kept, -outputs) == pytest.approx(-np.ones(5))
    assert lds(10 * scores, kept, np.exp(outputs)) == pytest.approx(np.ones(5))


def test_a_small_case_by_hand():
    """Predictions 3, 4, 5 for the pairs; outputs in the order 1, 3, 2: rho = 1 - 6 (0 + 1 + 1) / (3 * 8) = 1/2."""
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    outputs = np.array([[-9.0, -1.0, -2.0], [-9.0, -1.0, -2.0]])
    assert lds(scores, PAIRS, outputs) == pytest.approx([0.5, 0.0])  # scores that are all alike predict nothing


def test_values_made_of_the_subsets_are_measured_on_others():
    """Of additive outputs they say all, of noise nothing, though values of all subsets fit what they have seen."""
    generator = np.random.default_rng(0)
    kept = drawn(subsets=40, sizes="shapley")
    effects = generator.normal(size=(5, 6))
    for value in ("shapley", "banzhaf"):
        assert held_out_lds(value, kept, effects @ kept.T, effects.sum(1)) == pytest.approx(np.ones(5))
    noise, full = generator.normal(size=(500, 40)), np.zeros(500)
    values = held_out_lds("shapley", kept, noise, full)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(500)
    assert lds(group_values("shapley", noise, kept, full), kept, noise).mean() > 0.2


def test_the_table_has_a_row_a_method():
    values = {"logo": np.array([1.0, -1.0]), "m": np.array([0.5, 0.5])}
    frame = lds_table(values, 3, "fixed", 0.7, 200, 0).set_index("method")
    assert list(frame.columns) == ["n_queries", "n_subsets", "sizes", "alpha", "lds", "lds_low", "lds_high"]
    assert frame.loc["logo"].tolist() == [2, 3, "fixed", 0.7, 0, -1, 1]
    assert frame.loc["m"].tolist() == [2, 3, "fixed", 0.7, 0.5, 0.5, 0.5]
