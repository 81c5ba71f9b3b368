"""Paired bootstrap over queries: against the plain metrics on each resample, and p-values worked out by hand."""

import math

import numpy as np
import pytest

from guda.evaluation.agreement import agreement
from guda.evaluation.bootstrap import resamples
from guda.evaluation.effects import effect_spearman
from guda.evaluation.relevance import decisive
from guda.evaluation.significance import (
    COLUMNS,
    METRICS,
    holm,
    interval,
    p_value,
    resampled_agreement,
    significance_table,
    weighted_ranks,
)

NAN = float("nan")


def table(matrices, oracles, methods, n_bootstrap=300, seed=0):
    frame = significance_table(matrices, oracles, methods, n_bootstrap, seed, decisive_ratio=2.0)
    return frame.set_index(["method", "metric"])


@pytest.fixture
def scores():
    """Two oracles, a method near them, one far off, and scores with many ties, of 30 queries and 4 groups."""
    generator = np.random.default_rng(0)
    oracle = 3 * generator.normal(size=(30, 4))
    noise = generator.normal(size=(3, 30, 4))
    tied = np.round(oracle / 4)
    return {
        "logo": oracle,
        "logo-2": oracle + noise[0] / 3,
        "near": oracle + noise[1] / 2,
        "far": noise[2],
        "tied": tied,
    }


def test_every_metric_on_every_resample_is_that_of_the_resampled_queries(scores):
    oracle, is_decisive = scores["logo"], decisive([scores["logo"]])
    assert 0 < is_decisive.sum() < 30
    methods = {name: scores[name] for name in ("near", "far", "tied")}
    found = resampled_agreement(methods, oracle, is_decisive, 300, seed=5)
    drawn = [np.arange(30), *resamples(30, 300, 5)]
    for name, matrix in methods.items():
        assert found[name].shape == (301, len(METRICS))
        for row in (0, 1, 2, 255, 256, 300):  # on both sides of a block's end
            of = drawn[row]
            expected = agreement(matrix[of], oracle[of], is_decisive[of], oracle[of] > 1, n_bootstrap=1, seed=0)
            np.testing.assert_allclose(found[name][row], [expected[metric] for metric in METRICS], rtol=1e-12)


def test_ranks_of_weighted_values_by_hand():
    # 5 once, 1 twice (ranks 1, 2), 3 twice beside 3 once (ranks 3, 4, 5), then 5: rank 6.
    weights = np.array([[1.0, 2, 2, 1], [1, 1, 1, 1], [0, 0, 1, 3]])
    ranks = weighted_ranks(np.array([5.0, 1, 3, 3]), weights)
    assert ranks[0].tolist() == [6, 1.5, 4, 4]
    assert ranks[1].tolist() == [4, 1, 2.5, 2.5]
    assert ranks[2, 2:].tolist() == [2.5, 2.5]


def test_the_difference_is_that_of_the_plain_metrics(scores):
    frame = table(scores, ["logo"], ["near", "far", "tied"])
    oracle, is_decisive = scores["logo"], decisive([scores["logo"]])
    plain = {
        name: agreement(scores[name], scores["logo"], is_decisive, oracle > 1, n_bootstrap=1, seed=0)
        for name in ("near", "far", "tied")
    }
    for (name, metric), row in frame.iterrows():
        assert row["reference"] == "near"
        assert row["n_queries"] == 30
        assert row["difference"] == pytest.approx(plain[name][metric] - plain["near"][metric], abs=1e-12)
        assert row["low"] <= row["difference"] <= row["high"]
    assert list(frame.loc["far"].index) == METRICS


def test_a_clearly_worse_method_has_the_smallest_p_there_is(scores):
    row = table(scores, ["logo"], ["near", "far"]).loc[("far", "spearman")]
    assert row["high"] < 0
    assert row["p"] == row["p_holm"] == 2 / 301


def test_a_method_like_the_reference_differs_by_nothing(scores):
    frame = table(scores | {"same": scores["near"]}, ["logo"], ["near", "same"])
    assert (frame[["difference", "low", "high"]] == 0).all(axis=None)
    assert (frame[["p", "p_holm"]] == 1).all(axis=None)


def test_pairing_takes_out_what_is_hard_for_all():
    # Both are right about half of the images, the better one about one in twenty more: always the same ones.
    oracle = np.tile([1.0, 0], (200, 1))
    right = np.arange(200) % 2 == 0
    one = np.where(right[:, None], oracle, -oracle)
    better = np.where((right | (np.arange(200) % 20 == 1))[:, None], oracle, -oracle)
    row = table({"logo": oracle, "one": one, "better": better}, ["logo"], ["one", "better"], 2000).loc[
        ("better", "top1")
    ]
    assert row["difference"] == 0.05
    # The mean of 200 values, a twentieth of them 1, has a standard error of sqrt(0.05 0.95 / 200) = 0.0154.
    assert (row["low"], row["high"]) == pytest.approx((0.05 - 1.9 * 0.0154, 0.05 + 2.1 * 0.0154), abs=0.006)


def test_the_ceiling_is_the_mean_of_the_other_oracles(scores):
    more = scores | {"logo-3": scores["far"]}
    frame = table(more, ["logo", "logo-2", "logo-3"], ["near", "tied"])
    assert list(dict.fromkeys(frame.index.get_level_values("method"))) == ["tied", "ceiling"]
    near, *others = (effect_spearman(more[name], more["logo"]) for name in ("near", "logo-2", "logo-3"))
    assert frame.loc[("ceiling", "effect_spearman"), "difference"] == pytest.approx(sum(others) / 2 - near)


def test_a_single_method_and_oracle_leave_an_empty_table(scores):
    frame = significance_table(scores, ["logo"], ["near"], 10, 0, 2.0)
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 0


def test_auroc_without_decisive_queries_is_empty_and_is_not_counted_as_a_comparison(scores):
    flat = {name: matrix / 1e3 + 10 for name, matrix in scores.items()}  # no first score is twice the second
    rows = table(flat, ["logo"], ["near", "far", "tied"]).xs("decisive_auroc", level="metric")
    assert rows[["difference", "low", "high", "p", "p_holm"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0] * 99, 2 * 1 / 100),  # never on the other side, but never 0
        ([-1.0] * 99, 2 * 1 / 100),
        ([-1.0] * 4 + [1.0] * 95, 2 * 5 / 100),
        ([0.0] * 4 + [1.0] * 95, 2 * 5 / 100),  # zero is on both sides
        ([0.0] * 99, 1),
        ([-1.0, 1.0], 1),  # 2 * 2 / 3, cut off
        ([NAN, 1.0, 1.0, 1.0], 2 * 1 / 4),
        ([NAN, NAN], NAN),
    ],
)
def test_p_by_hand(differences, expected):
    assert p_value(np.array(differences)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 * 0.01, 2 * 0.03, and 1 * 0.04 not below the one before
        ([0.5, 0.9], [1, 1]),
        ([0.02, NAN, 0.01], [0.02, NAN, 0.02]),  # two comparisons
        ([NAN], [NAN]),
        ([], []),
    ],
)
def test_holm_by_hand(p, expected):
    np.testing.assert_allclose(holm(np.array(p)), expected)


def test_intervals_leave_out_resamples_without_a_value():
    assert interval(np.array([NAN, *np.arange(41.0)])) == pytest.approx((1, 39))
    assert all(math.isnan(bound) for bound in interval(np.array([NAN])))


def test_resamples_depend_on_number_and_seed_alone():
    first, again, other = (np.stack(list(resamples(7, 5, seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (5, 7)
    assert first.min() >= 0 and first.max() < 7
