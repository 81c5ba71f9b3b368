"""Whether an image has any first group at all: p_none, by the scores of retained training images."""

import numpy as np
from golden_methods import counterfactual_spec, save_terms

from guda.core.paths import BASE, Paths
from guda.evaluation.ranking import rankings_frame
from guda.evaluation.scores import Scores, read_numbers, scores_frame
from guda.methods import get_method
from guda.methods.counterfactual.retained import no_first_group, retained

# Terms of four calibration images by models of two groups at two steps.
TERMS = np.array([[[1, 3], [1, 0]], [[3, 5], [0, 3]], [[9, 9], [2, 3]], [[7, 7], [8, 8]]], dtype=np.float64)
HELD = [np.array([False, False, True, True]), np.array([False, False, False, True])]


def test_p_none_by_hand():
    # Group 0: damage (2, 4), so scores -2, 2 of the images that it does not hold. Group 1: damage (1, 2), scores -2, 0,
    # 2. The largest by a group that does not hold an image: -2, 2, 2; the last image is in both groups.
    found = retained(TERMS[None], HELD)
    np.testing.assert_allclose(np.sort(found.highest), [-2, 2, 2])
    p = no_first_group(np.array([[3.0, -3.0], [2.0, 0.0], [-2.0, 2.1]]), found.highest)
    np.testing.assert_allclose(p, np.array([[1, 4], [3, 3], [4, 1]]) / 4)


def test_where_no_group_stands_out_the_first_ones_p_is_uniform():
    """Images of no group have p-values of 1/20, 2/20, .. 1, each as often: 10,000 samples of 19 and one image more."""
    scores = np.random.default_rng(3).normal(size=(10_000, 20, 4))  # exchangeable: independent and alike
    firsts = [no_first_group(each[:1], each[1:].max(axis=1)).min() for each in scores]
    counts = np.bincount(np.round(20 * np.array(firsts)).astype(int), minlength=21)[1:]
    assert abs(counts / 10_000 - 1 / 20).max() < 5 * np.sqrt(1 / 20 * 19 / 20 / 10_000)


def test_groups_in_the_order_of_their_scores_and_never_zero():
    p = no_first_group(np.array([[5.0, 1.0, 9.0]]), np.array([0.0, 2.0, 6.0]))
    np.testing.assert_allclose(p, [[2 / 4, 3 / 4, 1 / 4]])
    assert no_first_group(np.zeros((1, 1)), np.empty(0)) == 1  # nothing is known


def test_only_calibrated_counterfactuals_have_one(tmp_path):
    spec = counterfactual_spec(tmp_path)
    save_terms(tmp_path, {BASE: 0, "guda/a": 1, "guda/b": 2})
    found = get_method("guda").scores(spec, Paths(tmp_path))
    assert found.p_none.shape == found.score.shape
    assert ((found.p_none > 0) & (found.p_none <= 1)).all()
    frame = rankings_frame("guda", found.queries, found.groups, found.score, None, p_none=found.p_none)
    assert (frame.groupby("query")["p_none"].diff().dropna() >= 0).all()  # the first group's is the least


def test_scores_of_before_have_none(tmp_path):
    file = tmp_path / "old.csv"
    frame = scores_frame(Scores(["q"], ["a", "b"], np.array([[1.0, 2.0]])))
    frame.drop(columns="p_none").to_csv(file, index=False)
    assert read_numbers(str(file))["p_none"].isna().all()
