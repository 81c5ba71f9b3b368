"""The order of groups, its inverse, and the long table of rankings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda.ranking import order, rankings_frame, ranks

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
# Few distinct values, so that ties are common.
MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 3))
)


def test_order_is_from_high_to_low():
    # 0.9 (group 1) > 0.5 (group 2) > -1 (group 0); second query: group 2, 0, 1.
    np.testing.assert_array_equal(order([[-1, 0.9, 0.5], [2, 1, 3]]), [[1, 2, 0], [2, 0, 1]])


def test_ranks_are_the_place_of_each_group():
    # Order 1, 2, 0: group 0 is third, group 1 first, group 2 second.
    np.testing.assert_array_equal(ranks([[-1, 0.9, 0.5]]), [[3, 1, 2]])


def test_ties_keep_the_group_position():
    # 5 at groups 1 and 3, then 2 at groups 0, 2 and 4.
    scores = [[2, 5, 2, 5, 2]]
    np.testing.assert_array_equal(order(scores), [[1, 3, 0, 2, 4]])
    np.testing.assert_array_equal(ranks(scores), [[3, 1, 4, 2, 5]])
    np.testing.assert_array_equal(order([[0.0, -0.0, 0.0]]), [[0, 1, 2]])
    # Long rows too, where an unstable sort shows: the even groups first, then the odd ones.
    many = np.arange(100)
    np.testing.assert_array_equal(order([-(many % 2)]), [np.concatenate([many[::2], many[1::2]])])


def test_unsigned_scores_do_not_wrap():
    # -0 and -1 in uint8 are 0 and 255: negating before the cast would put group 0 first.
    np.testing.assert_array_equal(order(np.array([[0, 1]], dtype=np.uint8)), [[1, 0]])


@PROPERTY
@given(MATRICES)
def test_ranks_invert_order(scores):
    by_rank, rank = order(scores), ranks(scores)
    places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    np.testing.assert_array_equal(np.take_along_axis(rank, by_rank, axis=1), places + 1)
    np.testing.assert_array_equal(np.sort(by_rank, axis=1), places)
    assert (np.diff(np.take_along_axis(scores, by_rank, axis=1), axis=1) <= 0).all()
    assert by_rank.dtype.kind == rank.dtype.kind == "i"


def test_frame_rows_follow_queries_then_ranks():
    frame = rankings_frame(
        "guda",
        ["q9", "q1"],
        ["cat", "dog"],
        score=[[1.0, 2.0], [4.0, 3.0]],
        se=[[0.1, 0.2], [0.4, 0.3]],
        p_top1=[[0.25, 0.75], [1.0, 0.0]],
    )
    assert list(frame.columns) == ["method", "query", "rank", "group", "score", "se", "p_top1"]
    # q9 ranks dog (2.0) above cat (1.0), q1 cat (4.0) above dog (3.0); every value moves with its group.
    assert frame.to_numpy().tolist() == [
        ["guda", "q9", 1, "dog", 2.0, 0.2, 0.75],
        ["guda", "q9", 2, "cat", 1.0, 0.1, 0.25],
        ["guda", "q1", 1, "cat", 4.0, 0.4, 1.0],
        ["guda", "q1", 2, "dog", 3.0, 0.3, 0.0],
    ]


def test_frame_has_nan_where_a_method_has_no_error():
    frame = rankings_frame("clip", [7], ["a", "b", "c"], score=[[0.0, 1.0, 1.0]], se=None, p_top1=None)
    assert frame["group"].tolist() == ["b", "c", "a"]
    assert frame["query"].tolist() == [7, 7, 7]
    assert frame[["se", "p_top1"]].isna().all(axis=None)
    assert (frame[["se", "p_top1"]].dtypes == np.float64).all()


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([1.0, 2.0], r"shape \(2,\)"),
        (np.empty((0, 3)), r"shape \(0, 3\)"),
        ([[0, 1], [np.nan, np.inf]], "found 2 NaN .* the first being nan at query 1, group 0"),
    ],
)
def test_bad_scores_are_refused(scores, found):
    with pytest.raises(ValueError, match=found):
        order(scores)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"queries": ["q0", "q1"]}, r"score is \(1, 2\), but queries are \(2,\) and groups \(2,\)"),
        ({"groups": ["a"]}, r"score is \(1, 2\), but queries are \(1,\) and groups \(1,\)"),
        ({"se": [0.1, 0.2]}, r"se must have the shape of score \(1, 2\), found \(2,\)"),
        ({"p_top1": [[0.1]]}, r"p_top1 must have the shape of score \(1, 2\), found \(1, 1\)"),
    ],
)
def test_frame_refuses_parts_that_do_not_fit(wrong, found):
    parts = {"queries": ["q0"], "groups": ["a", "b"], "score": [[1.0, 2.0]], "se": None, "p_top1": None}
    with pytest.raises(ValueError, match=found):
        rankings_frame("guda", **(parts | wrong))
