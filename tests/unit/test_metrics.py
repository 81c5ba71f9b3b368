"""Agreement metrics against numbers worked out by hand, and against the laws they must obey.

The worked image: scores [4, 3, 2, 1] order the groups 0 1 2 3, oracle [3, 4, 1, 2] orders them 1 0 3 2,
so the oracle's rel = G - rank of groups 0..3 is 2, 3, 0, 1.  1/log2(3) is LOG below, 1/log2(4) = 1/2.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from guda.evaluation import agreement, effects, metrics, relevance
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.ranking import places

S, G = [4, 3, 2, 1], [3, 4, 1, 2]
LOG = 1 / math.log2(3)
ROW = {"n_queries": 8, "n_groups": 5, "top1": 0.25}
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
NAMES = ["top1", "top3", "mrr", "ndcg_exp", "ndcg_lin", "rbo", "rbo_raw", "wpra", "spearman", "kendall"]
PER_QUERY = [getattr(metrics, name) for name in NAMES]
NORMALISED = [metric for metric in PER_QUERY if metric is not metrics.rbo_raw]


def per_image(metric, scores, oracle, **options):
    return metric([scores], [oracle], **options).item()


@st.composite
def tied_pairs(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 8)))
    matrix = arrays(np.int64, shape, elements=st.integers(-3, 3))
    return draw(matrix), draw(matrix)


@st.composite
def untied_pairs(draw):
    n_queries, n_groups = draw(st.integers(1, 5)), draw(st.integers(2, 8))
    row = st.permutations(range(n_groups))
    matrix = st.lists(row, min_size=n_queries, max_size=n_queries).map(np.array)
    return draw(matrix), draw(matrix)


# --- worked numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "scores", "oracle", "expected"),
    [
        (metrics.top1, S, G, 0),  # group 0 against group 1
        (metrics.top1, [1, 3, 2], [0, 9, 1], 1),
        (metrics.top1, [1, 1, 0], [5, 0, 0], 1 / 2),  # group 0 is first in one of two orders
        (metrics.top1, [0, 1, 1], [0, 0, 5], 1 / 2),
        (metrics.top1, [7, 7, 7], [0, 0, 5], 1 / 3),  # a guess among three
        (metrics.top1, [1, 1, 0], [0, 5, 5], 1 / 4),  # {0, 1} and {1, 2} share one, in one of 2 * 2 orders
        (metrics.top3, S, G, 2 / 3),  # {0, 1, 2} & {1, 0, 3} = {0, 1}
        (metrics.top3, [1, 1, 1, 1], [0, 1, 1, 1], 3 / 4),  # each of the three is among three of four
        (metrics.top3, [9, 8, 1, 1, 0], [0, 0, 7, 8, 9], 1 / 3),  # 2 or 3, and both are the oracle's
        (metrics.top3, [1, 2], [2, 1], 1),  # 2 of min(3, 2)
        (metrics.mrr, S, G, 1 / 2),  # the oracle's group 1 is second
        (metrics.mrr, [1, 2, 3], [3, 2, 1], 1 / 3),
        (metrics.mrr, [1, 1, 1], [0, 0, 5], (1 + 1 / 2 + 1 / 3) / 3),  # group 2 has any place
        # The oracle's first is group 0, which is second or third, or group 1, which is first.
        (metrics.mrr, [0, 1, 0], [2, 2, 0], ((1 / 2 + 1 / 3) / 2 + 1) / 2),
        # Gains along 0 1 2 are 3, 7, 0; ideally 7, 3, 1.
        (metrics.ndcg_exp, S, G, (3 + 7 * LOG) / (7 + 3 * LOG + 1 / 2)),  # 0.7896
        # Gains along 0 1 2 are 2, 3, 0; ideally 3, 2, 1.
        (metrics.ndcg_lin, S, G, (2 + 3 * LOG) / (3 + 2 * LOG + 1 / 2)),  # 0.8175
        # The oracle's tie gives groups 0 and 1 the mean of gains 3 and 1 (exp), or 2 and 1 (lin); scores put group 1
        # first, and of groups 0 and 2 each second as often as third.
        (metrics.ndcg_exp, [0, 1, 0], [2, 2, 0], (2 + 1 * LOG + 1 * 1 / 2) / (3 + LOG)),
        (metrics.ndcg_lin, [0, 1, 0], [2, 2, 0], (3 / 2 + 3 / 4 * LOG + 3 / 4 * 1 / 2) / (2 + LOG)),
        # All tied: the mean gain 1 at each of three places, of 2, 1, 0.
        (metrics.ndcg_lin, [4, 4, 4], [2, 1, 0], (1 + LOG + 1 / 2) / (2 + LOG)),
        # Two groups, wrong way round: the gain 1 at the second place instead of the first.
        (metrics.ndcg_exp, [0, 1], [1, 0], LOG),
        # Shares of the top 1..4: 0, 2/2, 2/3, 4/4, weighed 0.1 * (1, 0.9, 0.81, 0.729).
        (metrics.rbo_raw, S, G, 0.1 * (0.9 + 0.54 + 0.729)),  # 0.2169
        (metrics.rbo, S, G, 0.2169 / (1 - 0.6561)),
        # All tied: of any d groups the share d/4 is expected among four, so shares 1/4, 2/4, 3/4, 1.
        (metrics.rbo_raw, [1, 1, 1, 1], [0, 1, 1, 1], 0.1 * (0.25 + 0.45 + 0.6075 + 0.729)),
        # Weights of 01 02 03 04 12 13 14 23 24: 4 7 9 10 3 5 6 2 3, sum 49; 34 is outside the top 3.
        # Wrong are 01 (4), 23 (2) and 24 (3).
        (metrics.wpra, [5, 7, 1, 2, 3], [10, 6, 3, 1, 0], 40 / 49),
        # Now 01 is tied: half of its 4 comes back.
        (metrics.wpra, [5, 5, 1, 2, 3], [10, 6, 3, 1, 0], 42 / 49),
        (metrics.wpra, [1, 1, 1], [3, 5, 9], 1 / 2),
        (metrics.wpra, [1, 2, 3], [4, 4, 4], 1 / 2),  # no weight at all
        # Rank differences are 1, 1, 1, 1: 1 - 6 * 4 / (4 * 15).
        (metrics.spearman, S, G, 0.6),
        # Centered average ranks (1/2, 1/2, -1) and (1, 0, -1): 1.5 / sqrt(1.5 * 2).
        (metrics.spearman, [3, 3, 1], [3, 2, 1], math.sqrt(3) / 2),
        (metrics.spearman, [2, 2, 2], [3, 2, 1], 0),
        (metrics.spearman, [3, 2, 1], [2, 2, 2], 0),
        # Of 6 pairs 01 and 23 disagree: (4 - 2) / 6.
        (metrics.kendall, S, G, 1 / 3),
        # Two pairs agree, one is tied in scores: 2 / sqrt(2 * 3).
        (metrics.kendall, [3, 3, 1], [3, 2, 1], 2 / math.sqrt(6)),
        (metrics.kendall, [2, 2, 2], [3, 2, 1], 0),
        (metrics.kendall, [3, 2, 1], [2, 2, 2], 0),
    ],
)
def test_worked_image(metric, scores, oracle, expected):
    assert per_image(metric, scores, oracle) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "scores", "oracle", "options", "expected"),
    [
        (metrics.ndcg_exp, S, G, {"k": 1}, 3 / 7),
        (metrics.ndcg_lin, S, G, {"k": 1}, 2 / 3),
        # Beyond G there is nothing more: gains 2, 3, 0, 1 against 3, 2, 1, 0.
        (metrics.ndcg_lin, S, G, {"k": 9}, (2 + 3 * LOG + 1 / math.log2(5)) / (3 + 2 * LOG + 1 / 2)),
        # 0.5 * (0 + 0.5 * 1 + 0.25 * 2/3 + 0.125 * 1) = 19/48; perfect is 15/16.
        (metrics.rbo_raw, S, G, {"p": 0.5}, 19 / 48),
        (metrics.rbo, S, G, {"p": 0.5}, 19 / 45),
        # Only the pairs of group 0: 01 wrong (4), 02, 03 and 04 right (7, 9, 10).
        (metrics.wpra, [5, 7, 1, 2, 3], [10, 6, 3, 1, 0], {"k": 1}, 26 / 30),
        # Every pair counts, 34 (weight 1) too, and wrongly.
        (metrics.wpra, [5, 7, 1, 2, 3], [10, 6, 3, 1, 0], {"k": 5}, 40 / 50),
        # k = 2 with the oracle's groups 1 and 2 tied: weights 1, 1, 2 of group 0's pairs, and 13 or 23 (weight 1, of
        # which 23 is wrong) each in half of the orders.
        (metrics.wpra, [4, 3, 1, 2], [2, 1, 1, 0], {"k": 2}, 4.5 / 5),
    ],
)
def test_worked_image_with_options(metric, scores, oracle, options, expected):
    assert per_image(metric, scores, oracle, **options) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n_groups", "expected"), [(10, 0.651), (16, 0.815)])
def test_perfect_raw_overlap_depends_on_the_number_of_groups(n_groups, expected):
    # 1 - 0.9^10 = 1 - 0.3487 and 1 - 0.9^16 = 1 - 0.1853.
    scores = np.arange(n_groups)
    assert per_image(metrics.rbo_raw, scores, scores) == pytest.approx(expected, abs=5e-4)


def test_exponential_gain_does_not_overflow():
    # 2^1999 is no float.  First and second swapped, tails negligible: gains 1/2, 1, 1/4 against 1, 1/2, 1/4.
    oracle = -np.arange(2000)
    scores = oracle.copy()
    scores[:2] = scores[1::-1]
    expected = (1 / 2 + LOG + 1 / 8) / (1 + LOG / 2 + 1 / 8)
    assert per_image(metrics.ndcg_exp, scores, oracle) == pytest.approx(expected, abs=1e-12)


# --- laws --------------------------------------------------------------------------------------------


@PROPERTY
@given(tied_pairs())
def test_values_stay_within_bounds(pair):
    for metric in PER_QUERY:
        values = metric(*pair)
        lowest = -1 if metric in (metrics.spearman, metrics.kendall) else 0
        assert values.shape == (len(pair[0]),) and values.dtype == np.float64
        assert (values >= lowest - 1e-12).all() and (values <= 1 + 1e-12).all()


@PROPERTY
@given(untied_pairs())
def test_agreement_with_oneself_is_one(pair):
    for metric in NORMALISED:
        np.testing.assert_allclose(metric(pair[0], pair[0]), 1, rtol=1e-12)


@PROPERTY
@given(untied_pairs())
def test_the_reverse_order_is_the_worst(pair):
    scores, _ = pair
    n_groups = scores.shape[1]
    for name, worst in {"spearman": -1, "kendall": -1, "wpra": 0, "top1": 0, "mrr": 1 / n_groups}.items():
        np.testing.assert_allclose(getattr(metrics, name)(-scores, scores), worst, atol=1e-12)


@PROPERTY
@given(tied_pairs(), st.sampled_from([lambda x: 2.5 * x - 7, lambda x: x**3, np.exp, np.arctan]))
def test_increasing_transforms_of_scores_change_nothing(pair, transform):
    scores, oracle = pair
    for metric in PER_QUERY:
        np.testing.assert_array_equal(metric(transform(scores), oracle), metric(scores, oracle))


@PROPERTY
@given(tied_pairs())
def test_only_wpra_sees_the_size_of_the_oracle_scores(pair):
    scores, oracle = pair
    for metric in PER_QUERY:
        if metric is not metrics.wpra:
            np.testing.assert_array_equal(metric(scores, np.exp(oracle)), metric(scores, oracle))
    # Its weights do not depend on the unit, though.
    np.testing.assert_allclose(metrics.wpra(scores, 3 * oracle + 1), metrics.wpra(scores, oracle))


@PROPERTY
@given(tied_pairs(), st.randoms(use_true_random=False))
def test_the_position_of_groups_does_not_matter(pair, random):
    scores, oracle = pair
    columns = random.sample(range(scores.shape[1]), scores.shape[1])
    for metric in PER_QUERY:
        np.testing.assert_allclose(metric(scores[:, columns], oracle[:, columns]), metric(scores, oracle), atol=1e-12)


@PROPERTY
@given(st.integers(2, 4).flatmap(lambda n: st.tuples(*[arrays(np.int64, n, elements=st.integers(0, 2))] * 2)))
def test_ties_are_averaged_over_all_orders_of_the_tied(pair):
    """Against every tie broken in every way, of both sides apart, by differences too small to weigh anything."""
    orders = 1e-9 * np.array(list(itertools.permutations(range(len(pair[0])))))
    scores, oracle = (np.add(values, orders) for values in pair)
    scores, oracle = np.repeat(scores, len(orders), axis=0), np.tile(oracle, (len(orders), 1))
    for metric in PER_QUERY:
        if metric not in (metrics.spearman, metrics.kendall, metrics.wpra):
            assert per_image(metric, *pair) == pytest.approx(metric(scores, oracle).mean(), abs=1e-12)
    for options in ({"k": 1}, {"k": 2}):
        for metric in (metrics.ndcg_exp, metrics.ndcg_lin):
            assert per_image(metric, *pair, **options) == pytest.approx(metric(scores, oracle, **options).mean())
        if np.ptp(pair[1]):  # else there is nothing to order, and no small difference is to be
            found = metrics.wpra(scores, oracle, **options).mean()
            assert per_image(metrics.wpra, *pair, **options) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("n_groups", [2, 3, 50])
def test_constant_scores_are_a_guess(n_groups):
    oracle = np.random.default_rng(n_groups).normal(size=(20, n_groups))
    constant = np.full((20, n_groups), 7.0)
    for scores in (constant, constant * 0):
        np.testing.assert_allclose(metrics.top1(scores, oracle), 1 / n_groups)
        np.testing.assert_allclose(metrics.top3(scores, oracle), min(3, n_groups) / n_groups)
        np.testing.assert_allclose(metrics.wpra(scores, oracle), 1 / 2)
        # In nobody's favor: the oracle's constant scores are as good a guess at the method's.
        np.testing.assert_allclose(metrics.top1(oracle, scores), 1 / n_groups)


def test_images_without_ties_keep_their_bits_beside_images_with_ties():
    scores, oracle = np.random.default_rng(5).normal(size=(2, 6, 9))
    beside = scores.copy()
    beside[3] = 0
    for metric in PER_QUERY:
        np.testing.assert_array_equal(np.delete(metric(beside, oracle), 3), np.delete(metric(scores, oracle), 3))


@PROPERTY
@given(tied_pairs())
def test_queries_do_not_see_each_other(pair):
    scores, oracle = pair
    for metric in PER_QUERY:
        alone = [per_image(metric, s, g) for s, g in zip(scores, oracle, strict=True)]
        np.testing.assert_allclose(metric(scores, oracle), alone, rtol=1e-12, atol=1e-12)


@PROPERTY
@given(tied_pairs())
def test_pairs_of_groups_count_as_defined(pair):
    """Over all pairs, one by one: tau-b, and the accuracy that is weighted by the oracle's differences in its top 3."""
    for scores, oracle in zip(*pair, strict=True):
        n_groups, top = len(oracle), metrics._among_first(*places(oracle[None]), 3)[0]
        agreed, untied, weights, alike = 0, [0, 0], 0.0, 0.0
        for a, b in itertools.combinations(range(n_groups), 2):
            of_scores, of_oracle = np.sign(scores[a] - scores[b]), np.sign(oracle[a] - oracle[b])
            agreed += of_scores * of_oracle
            untied = [untied[0] + abs(of_scores), untied[1] + abs(of_oracle)]
            weight = abs(oracle[a] - oracle[b]) * max(top[a], top[b])
            weights, alike = weights + weight, alike + weight * (1 + of_scores * of_oracle) / 2
        tau = agreed / np.sqrt(untied[0] * untied[1]) if all(untied) else 0.0
        assert per_image(metrics.kendall, scores, oracle) == pytest.approx(tau)
        assert per_image(metrics.wpra, scores, oracle) == pytest.approx(alike / weights if weights else 0.5)


@PROPERTY
@given(tied_pairs())
def test_correlations_match_scipy(pair):
    for s, g in zip(*pair, strict=True):
        if np.ptp(s) and np.ptp(g):  # scipy gives NaN for a constant row
            assert per_image(metrics.spearman, s, g) == pytest.approx(stats.spearmanr(s, g).statistic)
            assert per_image(metrics.kendall, s, g) == pytest.approx(stats.kendalltau(s, g).statistic)


def test_many_queries_in_blocks_have_the_bits_of_one_block(monkeypatch):
    """Of 150 queries and 37 groups, 64 queries at a time; Kendall's tau is scipy's to the last bit, too."""
    monkeypatch.setattr(agreement, "ROWS", 37)
    scores, oracle = np.random.default_rng(6).normal(size=(2, 150, 37))
    scores[::2] = np.round(scores[::2])
    oracle[::3] = np.round(oracle[::3])
    found = agreement.by_query(scores, oracle)
    for name, metric in agreement.AVERAGED.items():
        np.testing.assert_array_equal(found[name], metric(scores, oracle), name)
    expected = [stats.kendalltau(*pair).statistic for pair in zip(scores, oracle, strict=True)]
    np.testing.assert_array_equal(found["kendall"], expected)


# --- summaries ---------------------------------------------------------------------------------------


def test_bootstrap_of_two_values():
    # Resampled means of 0 and 1 are 0, 1/2, 1 with odds 1/4, 1/2, 1/4.
    assert bootstrap_interval([0, 1], 2000, seed=0) == (0, 1)
    assert bootstrap_interval([0, 1], 2000, seed=0, level=0.4) == (0.5, 0.5)


def test_bootstrap_width_is_that_of_the_mean():
    # 400 zeros and ones in equal parts: the mean has a standard error of 0.5 / 20, so 0.5 -+ 1.96 * 0.025.
    low, high = bootstrap_interval([0, 1] * 200, 2000, seed=3)
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.006)


def test_bootstrap_depends_on_the_seed_alone():
    values = np.arange(20.0) ** 2
    first, again, other = (bootstrap_interval(values, 50, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_agreement_reports_every_metric_in_order():
    # The worked image, which is decisive, and a perfect one, which is not.
    scores, oracle = [S, [9, 3, 2, 1]], [G, [2, 1, 0, -1]]
    is_relevant = [[False, True, True, False], [False, False, False, False]]
    row = agreement.agreement(scores, oracle, [True, False], is_relevant, n_bootstrap=500, seed=4)
    expected = {
        "n_queries": 2,
        "n_groups": 4,
        "top1": 1 / 2,
        "top1_low": 0,
        "top1_high": 1,
        "top3": (2 / 3 + 1) / 2,
        "ndcg_exp@3": ((3 + 7 * LOG) / (7.5 + 3 * LOG) + 1) / 2,
        "ndcg_lin@3": ((2 + 3 * LOG) / (3.5 + 2 * LOG) + 1) / 2,
        "mrr": (1 / 2 + 1) / 2,
        "rbo": (0.2169 / 0.3439 + 1) / 2,
        "rbo_raw": (0.2169 + 0.3439) / 2,
        # Weights of the worked image: 01 1, 02 2, 03 1, 12 3, 13 2, 23 1; 01 and 23 are wrong: 8 of 10.
        "wpra@3": (0.8 + 1) / 2,
        "spearman": (0.6 + 1) / 2,
        "kendall": (1 / 3 + 1) / 2,
        "top1_balanced": 1 / 2,  # the oracle's group 1 is missed, its group 0 met
        "kappa": 0,  # one answer for both
        "effect_spearman": -1,  # first-place scores 4 < 9, the oracle's 4 > 2
        "contrast_spearman": 0,  # 1.5 < 5.25, the oracle's 1.5 both
        "margin_spearman": 0,  # 1 < 6, the oracle's 1 both
        "decisive_auroc": 0,  # the decisive image scores 4, the other 9
        "decisive_auroc_margin": 0,  # 1, the other 6
        "lrap": (1 / 2 + 2 / 3) / 2,  # places 2 and 3 in the worked image, none to find in the other
        "average_precision": (1 / 4 + 2 / 6) / 2,  # above its 3 are 9, 4 and a 3, above its 2 another, too
        "size_ratio": (1 + 3.5) / 2,  # contrasts 1.5 and 5.25, the oracle's 1.5 both
    }
    assert list(row) == list(expected)
    assert row == pytest.approx(expected)
    assert [type(value) for value in row.values()] == [int] * 2 + [float] * 22


def test_agreement_bounds_top1_by_its_bootstrap():
    scores, oracle = np.random.default_rng(0).normal(size=(2, 30, 4))
    row = agreement.agreement(scores, oracle, np.arange(30) < 9, oracle > 1, n_bootstrap=40, seed=9)
    interval = bootstrap_interval(metrics.top1(scores, oracle), 40, seed=9)
    assert (row["top1_low"], row["top1_high"]) == interval


def test_mean_of_agreement_rows():
    mean = agreement.mean_agreement([ROW | {"mrr": 0.5}, ROW | {"top1": 0.75, "mrr": math.nan}])
    assert list(mean) == ["n_queries", "n_groups", "top1", "mrr"]
    assert (mean["n_queries"], mean["n_groups"], mean["top1"]) == (8, 5, 0.5)
    assert type(mean["n_queries"]) is type(mean["n_groups"]) is int
    assert math.isnan(mean["mrr"])


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", PER_QUERY, ids=NAMES)
@pytest.mark.parametrize(
    ("scores", "oracle", "found"),
    [
        ([[1, 2]], [[1, 2, 3]], r"one shape, found \(1, 2\) and \(1, 3\)"),
        ([[1, 2]], [[1, 2], [3, 4]], r"one shape, found \(1, 2\) and \(2, 2\)"),
        ([[1, np.nan]], [[1, 2]], "scores must be finite, found 1 NaN .* nan at query 0, group 1"),
        ([[1, 2]], [[-np.inf, 2]], "oracle must be finite, found 1 NaN .* -inf at query 0, group 0"),
        ([[1], [2]], [[1], [2]], "scores must have at least 2 groups to rank, found 1"),
        (np.empty((0, 3)), np.empty((0, 3)), r"scores must be a non-empty .* found shape \(0, 3\)"),
        ([1, 2], [1, 2], r"scores must be a non-empty .* found shape \(2,\)"),
    ],
)
def test_per_query_metrics_refuse_bad_matrices(metric, scores, oracle, found):
    with pytest.raises(ValueError, match=found):
        metric(scores, oracle)


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: metrics.ndcg_exp([S], [G], k=0), "k must be at least 1, found 0"),
        (lambda: metrics.rbo([S], [G], p=1), "p must lie strictly between 0 and 1, found 1"),
        (lambda: effects.effect_spearman([S], [[1, 2]]), "one shape"),
        (lambda: metrics.kappa([S], [[1, 2]]), "one shape"),
        (lambda: metrics.top1_balanced([S], [[1, 2]]), "one shape"),
        (lambda: effects.contrast_spearman([S], [[1, 2]]), "one shape"),
        (lambda: effects.margin_spearman([S], [[1, 2]]), "one shape"),
        (lambda: relevance.decisive_auroc_margin([S], [True, False]), r"shape \(1,\), found \(2,\)"),
        (lambda: relevance.decisive([]), r"one or more matrices of one shape, found shapes \[\]"),
        (lambda: relevance.decisive([[[1, 2]], [[1, 2, 3]]]), r"found shapes \[\(1, 2\), \(1, 3\)\]"),
        (lambda: relevance.decisive([[[1, 2]], [[1, np.nan]]]), r"oracles\[1\] must be finite"),
        (lambda: relevance.decisive_auroc([S], [True, False]), r"shape \(1,\), found \(2,\)"),
        (lambda: bootstrap_interval([], 10, seed=0), r"found shape \(0,\)"),
        (lambda: bootstrap_interval([1, np.nan], 10, seed=0), r"\(2,\) with 1 NaN or infinite"),
        (lambda: bootstrap_interval([1], 0, seed=0), "n_bootstrap must be at least 1, found 0"),
        (lambda: bootstrap_interval([1], 9, seed=0, level=95), "level must .* found 95"),
        (lambda: agreement.agreement([S], [G], [True] * 2, [G], n_bootstrap=9, seed=0), r"shape \(1,\), found \(2,\)"),
        (lambda: agreement.mean_agreement([]), r"found \[\]"),
        (lambda: agreement.mean_agreement([ROW, ROW | {"n_groups": 6}]), r"found \[\(8, 5\), \(8, 6\)\]"),
        (lambda: agreement.mean_agreement([ROW, ROW | {"mrr": 1.0}]), "share their keys"),
    ],
)
def test_bad_arguments_are_refused(call, found):
    with pytest.raises(ValueError, match=found):
        call()
