"""Aggregation of training images' scores over groups, by hand."""

import numpy as np
import pytest

from guda.methods.instance import Aggregation, aggregate

SCORES = np.array([[0.9, 0.5, 0.1, 0.3], [0.0, -1.0, 0.4, 0.8]])
MEMBERSHIP = [np.array([0, 1, 3]), np.array([2, 3])]  # the last image is in both groups


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"aggregate": "sum"}, [[1.7, 0.4], [-0.2, 1.2]]),
        ({"aggregate": "mean"}, [[1.7 / 3, 0.2], [-0.2 / 3, 0.6]]),
        ({"aggregate": "top_k", "top_k": 1}, [[0.9, 0.3], [0.8, 0.8]]),
        ({"aggregate": "top_k", "top_k": 2}, [[0.7, 0.2], [0.4, 0.6]]),
        # Three of the first group, both of the second: as many as there are.
        ({"aggregate": "top_k", "top_k": 3}, [[1.7 / 3, 0.2], [-0.2 / 3, 0.6]]),
    ],
)
def test_aggregates(settings, expected):
    np.testing.assert_allclose(aggregate(SCORES, MEMBERSHIP, Aggregation(**settings)), expected)


def test_aggregation_leaves_the_scores_alone():
    before = SCORES.copy()
    aggregate(SCORES, MEMBERSHIP, Aggregation(aggregate="top_k", top_k=2))
    np.testing.assert_array_equal(SCORES, before)
