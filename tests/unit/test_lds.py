"""The linear datamodeling score: subsets of groups, and correlations worked out by hand."""

import numpy as np
import pytest

from guda.config import Lds
from guda.evaluation.lds import kept_by_subset, kept_matrix, lds, lds_table

GROUPS = ["amber", "birch", "cedar", "dune", "ember", "flint"]
# Each two of three groups.
PAIRS = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)


@pytest.mark.parametrize(("alpha", "count", "ways"), [(0.5, 3, 20), (0.3, 2, 15), (0.9, 5, 6), (0.1, 1, 6)])
def test_a_subset_keeps_its_share_of_the_groups_and_none_comes_twice(alpha, count, ways):
    kept = kept_matrix(GROUPS, Lds(alpha=alpha, subsets=ways))
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
    share = np.mean([kept_matrix(GROUPS, Lds(subsets=2, seed=seed))[0] for seed in range(1000)], axis=0)
    assert np.abs(share - 0.5).max() < 4 * np.sqrt(0.25 / 1000)


def test_additive_outputs_give_one_and_their_opposites_minus_one():
    generator = np.random.default_rng(0)
    scores, kept = generator.normal(size=(5, 6)), kept_matrix(GROUPS, Lds(subsets=20))
    outputs = scores @ kept.T + generator.normal(size=(5, 1))  # each query has a constant of its own
    assert lds(scores, kept, outputs) == pytest.approx(np.ones(5))
    assert lds(scores, kept, -outputs) == pytest.approx(-np.ones(5))
    assert lds(10 * scores, kept, np.exp(outputs)) == pytest.approx(np.ones(5))


def test_a_small_case_by_hand():
    """Predictions 3, 4, 5 for the pairs; outputs in the order 1, 3, 2: rho = 1 - 6 (0 + 1 + 1) / (3 * 8) = 1/2."""
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    outputs = np.array([[-9.0, -1.0, -2.0], [-9.0, -1.0, -2.0]])
    assert lds(scores, PAIRS, outputs) == pytest.approx([0.5, 0.0])  # scores that are all alike predict nothing


def test_the_table_has_a_row_a_method():
    scores = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    outputs = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    frame = lds_table({"logo": scores, "m": -scores}, PAIRS, outputs, Lds(subsets=3, alpha=0.7), 200, 0)
    assert list(frame.columns) == ["method", "n_queries", "n_subsets", "alpha", "lds", "lds_low", "lds_high"]
    assert frame["method"].tolist() == ["logo", "m"]
    assert frame[["n_queries", "n_subsets", "alpha"]].to_numpy().tolist() == [[2, 3, 0.7]] * 2
    assert frame["lds"].tolist() == pytest.approx([0, 0])  # one query agrees, the other is the wrong way round
    assert frame["lds_low"].tolist() == pytest.approx([-1, -1])
    assert frame["lds_high"].tolist() == pytest.approx([1, 1])
