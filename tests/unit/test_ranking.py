"""The order of groups, its inverse, and the long table of rankings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda.evaluation.ranking import first_rows, order, places, rankings_frame, ranks
from guda.report.queries import query_figure

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
# Few distinct values, so that ties are common.
MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 3))
)


def test_order_is_from_high_to_low():
    # 0.9 (group 1) > 0.5 (group 2) > -1 (group 0); second query: group 2, 0, 1.
    np.testing.assert_array_equal(order([[-1, 0.9, 0.5], [2, 1, 3]]), [[1, 2, 0], [2, 0, 1]])


def test_places_count_those_above_and_those_alike():
    # Order 1, 2, 0: group 0 is third, group 1 first, group 2 second; then 5 5 at groups 1 and 3, above 2 2 2.
    above, tied = places([[-1, 0.9, 0.5, -2, -3], [2, 5, 2, 5, 2]])
    np.testing.assert_array_equal(above, [[2, 0, 1, 3, 4], [2, 0, 2, 0, 2]])
    np.testing.assert_array_equal(tied, [[1, 1, 1, 1, 1], [3, 2, 3, 2, 3]])
    np.testing.assert_array_equal(ranks([[2, 5, 2, 5, 2]]), [[4, 1.5, 4, 1.5, 4]])
    # The last of a row and the first of the next do not tie.
    np.testing.assert_array_equal(places([[1.0, 0.0], [0.0, -0.0]]), [[[0, 1], [0, 0]], [[1, 1], [2, 2]]])


def test_rows_of_tied_groups_keep_their_order():
    # 5 at groups 1 and 3, then 2 at groups 0, 2 and 4.
    scores = [[2, 5, 2, 5, 2]]
    np.testing.assert_array_equal(order(scores), [[1, 3, 0, 2, 4]])
    np.testing.assert_array_equal(order([[0.0, -0.0, 0.0]]), [[0, 1, 2]])
    # Long rows too, where an unstable sort shows: the even groups first, then the odd ones.
    many = np.arange(100)
    np.testing.assert_array_equal(order([-(many % 2)]), [np.concatenate([many[::2], many[1::2]])])


def test_unsigned_scores_do_not_wrap():
    # -0 and -1 in uint8 are 0 and 255: negating before the cast would put group 0 first.
    np.testing.assert_array_equal(order(np.array([[0, 1]], dtype=np.uint8)), [[1, 0]])


@PROPERTY
@given(MATRICES)
def test_places_are_counts(scores):
    by_rank, (above, tied) = order(scores), places(scores)
    np.testing.assert_array_equal(np.sort(by_rank, axis=1), np.broadcast_to(np.arange(scores.shape[1]), scores.shape))
    assert (np.diff(np.take_along_axis(scores, by_rank, axis=1), axis=1) <= 0).all()
    np.testing.assert_array_equal(above, (scores[:, None] > scores[:, :, None]).sum(2))
    np.testing.assert_array_equal(tied, (scores[:, None] == scores[:, :, None]).sum(2))


@PROPERTY
@given(arrays(np.int64, st.integers(1, 9), elements=st.integers(0, 3)), st.integers(1, 12), st.randoms())
def test_the_first_rows_do_not_depend_on_their_order(scores, count, random):
    names = [f"group {letter}" for letter in "abcdefghi"[: len(scores)]]
    first = first_rows(scores, names, count, "query")
    assert len(first) == min(count, len(scores))
    assert list(scores[first]) == sorted(scores, reverse=True)[:count]
    assert first == first_rows(scores, names, 99, "query")[:count]  # a larger number begins with what a smaller has
    rows = random.sample(range(len(scores)), len(scores))
    again = first_rows(scores[rows], [names[row] for row in rows], count, "query")
    assert [rows[row] for row in again] == first


def test_over_many_queries_no_tied_group_is_favored():
    # 600 times a guess among three: 200 each, with a standard deviation of 11.5.
    counts = np.bincount([first_rows([1, 1, 1, 0], "abcd", 1, f"q{n}")[0] for n in range(600)], minlength=4)
    assert counts[3] == 0 and (np.abs(counts[:3] - 200) < 46).all()


def test_frame_rows_follow_queries_then_ranks():
    frame = rankings_frame(
        "guda",
        ["q9", "q1"],
        ["cat", "dog"],
        score=[[1.0, 2.0], [4.0, 3.0]],
        se=[[0.1, 0.2], [0.4, 0.3]],
        p_top1_scoring=[[0.25, 0.75], [1.0, 0.0]],
        p_top1=[[0.5, 0.625], [0.875, 0.125]],
        p_none=[[0.5, 0.03125], [0.0625, 0.75]],
    )
    numbers = ["score", "se", "p_top1_scoring", "p_top1", "p_none"]
    assert list(frame.columns) == ["method", "query", "rank", "group", *numbers]
    # q9 ranks dog (2.0) above cat (1.0), q1 cat (4.0) above dog (3.0); every value moves with its group.
    assert frame.to_numpy().tolist() == [
        ["guda", "q9", 1, "dog", 2.0, 0.2, 0.75, 0.625, 0.03125],
        ["guda", "q9", 2, "cat", 1.0, 0.1, 0.25, 0.5, 0.5],
        ["guda", "q1", 1, "cat", 4.0, 0.4, 1.0, 0.875, 0.0625],
        ["guda", "q1", 2, "dog", 3.0, 0.3, 0.0, 0.125, 0.75],
    ]


def test_frame_has_nan_where_a_method_has_no_error():
    frame = rankings_frame("clip", [7], ["a", "b", "c"], score=[[0.0, 1.0, 1.0]], se=None)
    assert frame["group"].tolist() == ["b", "c", "a"]
    assert frame["rank"].tolist() == [1.5, 1.5, 3]
    assert frame["query"].tolist() == [7, 7, 7]
    assert frame[["se", "p_top1_scoring", "p_top1"]].isna().all(axis=None)
    assert (frame[["se", "p_top1_scoring", "p_top1"]].dtypes == np.float64).all()


def test_the_figure_does_not_show_tied_groups_by_their_column():
    images = {f"q{n}": np.zeros((1, 2, 2), dtype=np.uint8) for n in range(12)}
    groups, scores = ["a", "b", "c"], np.tile([0.0, 0.0, 5.0], (12, 1))

    def shown(columns):
        names = [groups[column] for column in columns]
        frames = [rankings_frame(each, list(images), names, scores[:, columns], None, None) for each in ("m", "logo")]
        figure = query_figure(images, pd.concat(frames), "m", "logo", top=2)
        return [[text.get_text() for text in axes.texts] for axes in figure.axes if not axes.images]

    found = shown([0, 1, 2])
    assert {first for first, _ in found} == {"c"}
    assert {second for _, second in found} == {"a", "b"}
    assert shown([2, 1, 0]) == found


def test_whole_ranks_are_written_as_before_beside_those_of_ties():
    untied = rankings_frame("m", ["q0", "q1"], ["a", "b"], [[1.0, 2.0], [4.0, 3.0]], None, None)
    assert untied["rank"].dtype == np.int64
    tied = rankings_frame("n", ["q0", "q1"], ["a", "b"], [[1.0, 1.0], [4.0, 3.0]], None, None)
    assert pd.concat([untied, tied])["rank"].astype(str).tolist() == ["1", "2", "1", "2", "1.5", "1.5", "1", "2"]
    text = pd.concat([untied, tied]).to_csv(index=False, columns=["rank"])
    assert text.split() == ["rank", "1", "2", "1", "2", "1.5", "1.5", "1", "2"]
    three = rankings_frame("n", ["q0"], ["a", "b", "c"], [[1.0, 1.0, 1.0]], None, None)
    assert three["rank"].tolist() == [2, 2, 2]  # the mean of 1, 2 and 3


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
