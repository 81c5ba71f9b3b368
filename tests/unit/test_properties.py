"""Laws that hold for whatever numbers and names come: of the tables, buckets, noise, step weights and rankings.

Single metrics have theirs in test_metrics.py; here it is whole rows of the table that must obey.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda import config
from guda.core.seeding import derive_seed, gaussian, uniform
from guda.data.queries import queries_by_bucket
from guda.evaluation import agreement, effects
from guda.evaluation.bootstrap import bootstrap_interval
from guda.evaluation.ranking import order, rankings_frame, ranks
from guda.models.noise_schedule import elbo_steps, step_weights

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
CORRELATIONS = {"spearman", "kendall", "kappa", "effect_spearman", "contrast_spearman", "margin_spearman"}
OF_DECISIVE = {"decisive_auroc", "decisive_auroc_margin"}
OF_RELEVANT = {"lrap", "average_precision"}
PERFECT = ["top1", "top1_balanced", "top3", "ndcg_exp@3", "ndcg_lin@3", "mrr", "rbo", "wpra@3", "spearman", "kendall"]
SHAPES = st.tuples(st.integers(1, 6), st.integers(2, 7))
WHOLE = st.integers(-50, 50)


@st.composite
def comparisons(draw, tied=True):
    """Scores, an oracle's, which images are decisive and which groups relevant.

    Scores are whole numbers, so that no change of unit makes new ties.
    """
    shape = draw(SHAPES)
    if tied:
        matrices = arrays(np.float64, shape, elements=WHOLE)
    else:
        row = st.lists(WHOLE, min_size=shape[1], max_size=shape[1], unique=True)
        matrices = st.lists(row, min_size=shape[0], max_size=shape[0]).map(lambda rows: np.array(rows, dtype=float))
    return draw(matrices), draw(matrices), draw(arrays(bool, shape[0])), draw(arrays(bool, shape))


def row(scores, oracle, *told):
    return agreement.agreement(scores, oracle, *told, n_bootstrap=20, seed=0)


def assert_same(found, expected, but=()):
    assert found.keys() == expected.keys()
    for name in found.keys() - set(but):
        assert found[name] == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


# --- rows of the table -------------------------------------------------------------------------------


@PROPERTY
@given(comparisons())
def test_every_column_stays_in_its_range(comparison):
    found = row(*comparison)
    assert (found["n_queries"], found["n_groups"]) == comparison[0].shape
    for name in found.keys() - {"n_queries", "n_groups", "size_ratio"}:
        lowest = -1 if name in CORRELATIONS else 0
        if name in OF_DECISIVE and comparison[2].all() | (~comparison[2]).all():
            assert np.isnan(found[name])
        elif name in OF_RELEVANT and np.isnan(found[name]):
            assert name == "lrap" or comparison[3].all() or not comparison[3].any()
        else:
            assert lowest - 1e-12 <= found[name] <= 1 + 1e-12, name
    assert found["rbo_raw"] <= found["rbo"]
    assert np.isnan(found["size_ratio"]) if (np.ptp(comparison[1], axis=1) == 0).all() else found["size_ratio"] >= 0


@PROPERTY
@given(comparisons(tied=False), st.integers(1, 9), WHOLE)
def test_the_oracle_in_another_unit_is_perfect(comparison, scale, shift):
    _, oracle, *told = comparison
    found = row(scale * oracle + shift, oracle, *told)
    assert [found[name] for name in PERFECT] == pytest.approx([1] * len(PERFECT), abs=1e-12)
    assert found["top1_low"] == found["top1_high"] == 1
    for name, size in {"effect": effects.level, "contrast": effects.contrast, "margin": effects.margin}.items():
        varies = len(set(size(oracle))) > 1
        assert found[f"{name}_spearman"] == pytest.approx(1 if varies else 0, abs=1e-12)
    varies = len(set(oracle.argmax(axis=1))) > 1
    assert found["kappa"] == pytest.approx(1 if varies else 0, abs=1e-12)


@PROPERTY
@given(comparisons(), st.integers(1, 9), WHOLE)
def test_the_unit_of_a_methods_scores_changes_their_size_alone(comparison, scale, shift):
    scores, oracle, *told = comparison
    found, expected = row(scale * scores + shift, oracle, *told), row(scores, oracle, *told)
    assert_same(found, expected | {"size_ratio": scale * expected["size_ratio"]})


@PROPERTY
@given(comparisons(tied=False), st.randoms(use_true_random=False))
def test_the_order_of_the_groups_changes_nothing(comparison, random):
    scores, oracle, *told = comparison
    columns = random.sample(range(scores.shape[1]), scores.shape[1])
    reordered = row(scores[:, columns], oracle[:, columns], told[0], told[1][:, columns])
    assert_same(reordered, row(scores, oracle, *told))


@PROPERTY
@given(comparisons(), st.randoms(use_true_random=False))
def test_the_order_of_the_queries_changes_nothing_but_the_resamples(comparison, random):
    rows = random.sample(range(len(comparison[0])), len(comparison[0]))
    assert_same(row(*(part[rows] for part in comparison)), row(*comparison), but=["top1_low", "top1_high"])


@PROPERTY
@given(comparisons())
def test_reversing_the_scores_negates_correlations_and_wrong_pairs_become_right(comparison):
    scores, oracle, *told = comparison
    found, reversed_ = row(scores, oracle, *told), row(-scores, oracle, *told)
    for name in ("spearman", "kendall"):
        assert reversed_[name] == pytest.approx(-found[name], abs=1e-12)
    assert reversed_["wpra@3"] == pytest.approx(1 - found["wpra@3"], abs=1e-12)


@PROPERTY
@given(comparisons())
def test_swapping_method_and_oracle_leaves_what_is_symmetric(comparison):
    scores, oracle, *told = comparison
    found, swapped = row(scores, oracle, *told), row(oracle, scores, *told)
    symmetric = ["top1", "top3", "rbo", "rbo_raw", *CORRELATIONS]
    assert [swapped[name] for name in symmetric] == pytest.approx([found[name] for name in symmetric], abs=1e-12)


@PROPERTY
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=20),
    st.integers(1, 40),
    st.integers(0, 2**32),
    st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)
def test_bootstrap_intervals_lie_in_the_values_nest_and_follow_the_unit(values, n_bootstrap, seed, levels):
    # Means of eighths of up to 20 values; not that the mean lies inside, which few resamples do not promise.
    narrow, wide = (bootstrap_interval(values, n_bootstrap, seed, level) for level in sorted(levels))
    assert min(values) - 1e-9 <= wide[0] <= narrow[0] + 1e-9
    assert narrow[0] <= narrow[1] <= wide[1] + 1e-9 <= max(values) + 2e-9
    scaled = bootstrap_interval([3 * value - 7 for value in values], n_bootstrap, seed, min(levels))
    assert scaled == pytest.approx([3 * bound - 7 for bound in narrow], abs=1e-9)
    assert bootstrap_interval(values[:1] * 9, n_bootstrap, seed) == (values[0], values[0])


# --- buckets -----------------------------------------------------------------------------------------

QUERIES = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=30)
BUCKETS = st.integers(1, 12)


@PROPERTY
@given(QUERIES, BUCKETS)
def test_buckets_are_a_partition_in_the_order_of_the_queries(queries, n_buckets):
    buckets = queries_by_bucket(queries, n_buckets)
    assert sorted(query for ids in buckets.values() for query in ids) == sorted(queries)
    assert list(buckets) == sorted(buckets)
    assert buckets.keys() <= {f"bucket-{index:04d}" for index in range(n_buckets)}
    for ids in buckets.values():
        assert ids == [query for query in queries if query in ids]
        assert ids


@PROPERTY
@given(QUERIES, BUCKETS, st.randoms(use_true_random=False))
def test_a_bucket_depends_on_the_query_alone(queries, n_buckets, random):
    buckets = queries_by_bucket(queries, n_buckets)
    for bucket, ids in buckets.items():
        assert all(queries_by_bucket([query], n_buckets) == {bucket: [query]} for query in ids)
    shuffled = queries_by_bucket(random.sample(queries, len(queries)), n_buckets)
    assert {name: sorted(ids) for name, ids in shuffled.items()} == {name: sorted(ids) for name, ids in buckets.items()}


@PROPERTY
@given(QUERIES.filter(bool), BUCKETS)
def test_one_more_query_changes_one_bucket(queries, n_buckets):
    *before, added = queries
    old, new = queries_by_bucket(before, n_buckets), queries_by_bucket(queries, n_buckets)
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    (gained,) = queries_by_bucket([added], n_buckets)
    assert changed == {gained}
    assert new[gained] == [*old.get(gained, []), added]


def test_buckets_are_pinned():
    # printf 'bucket\037QUERY' | sha256sum gives 77cf63a2.. (a.png), 5d5de15a.. (b/c.png), 6bdcc49a.. (é):
    # the first 16 hex digits, halved, modulo 10.
    expected = {"bucket-0003": ["a.png"], "bucket-0006": ["é"], "bucket-0009": ["b/c.png"]}
    assert queries_by_bucket(["a.png", "b/c.png", "é"], 10) == expected


# --- noise and seeds ---------------------------------------------------------------------------------

SEEDS, STEPS = st.integers(0, 2**63 - 1), st.integers(0, 4000)
NAMES = st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=8)
DRAWS = st.tuples(SEEDS, NAMES, STEPS)


@PROPERTY
@given(st.lists(DRAWS, min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_noise_is_a_function_of_its_arguments(draws, random):
    first = {draw: gaussian(*draw, (2, 3)) for draw in draws}
    again = random.sample(draws, len(draws))
    assert all(np.array_equal(gaussian(*draw, (2, 3)), first[draw]) for draw in again)
    # 6 normal numbers of 24 bits never meet by chance, whichever argument differs.
    assert len({noise.tobytes() for noise in first.values()}) == len(draws)


@PROPERTY
@given(DRAWS, st.integers(1, 20), st.integers(1, 20))
def test_a_larger_image_begins_with_the_same_noise(draw, short, more):
    assert np.array_equal(gaussian(*draw, (short + more,))[:short], gaussian(*draw, (short,)))


@PROPERTY
@given(NAMES, NAMES)
def test_parts_of_a_seed_are_kept_apart(one, other):
    seeds = {derive_seed(one, other), derive_seed(one + other), derive_seed(one, other, "")}
    assert len(seeds) == 3
    assert (derive_seed(one, other) == derive_seed(other, one)) == (one == other)
    assert derive_seed("a", "b") != derive_seed("ab")
    assert uniform(one, other) == derive_seed(one, other) / 2**63


# --- step weights ------------------------------------------------------------------------------------


@st.composite
def schedules(draw):
    first = draw(st.integers(1, 3000))
    return config.StepSchedule(
        kind=draw(st.sampled_from(["all", "stride", "geometric"])),
        first=first,
        last=first + draw(st.integers(0, 400)),
        stride=draw(st.integers(1, 500)),
        count=draw(st.integers(1, 40)),
    )


@PROPERTY
@given(schedules())
def test_weights_add_up_to_the_window(schedule):
    steps = elbo_steps(schedule)
    weights = step_weights(steps, schedule.first, schedule.last)
    assert weights.shape == steps.shape
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(schedule.last - schedule.first + 1, rel=1e-12)


@PROPERTY
@given(schedules(), st.integers(-9, 9), st.integers(-9, 9))
def test_lines_are_summed_exactly_up_to_the_last_step_and_as_constants_beyond(schedule, slope, offset):
    steps, window = elbo_steps(schedule), np.arange(schedule.first, schedule.last + 1)
    estimate = step_weights(steps, schedule.first, schedule.last) @ (slope * steps + offset)
    exact = (slope * np.clip(window, steps[0], steps[-1]) + offset).sum()
    assert estimate == pytest.approx(exact, rel=1e-12, abs=1e-12 * 9 * 3400 * len(window))


@PROPERTY
@given(schedules())
def test_every_step_of_the_window_stands_for_itself(schedule):
    assume(schedule.kind == "all")
    assert step_weights(elbo_steps(schedule), schedule.first, schedule.last) == pytest.approx(1)


# --- rankings ----------------------------------------------------------------------------------------


@PROPERTY
@given(comparisons())
def test_a_ranking_is_a_permutation_of_the_groups_for_each_query(comparison):
    scores = comparison[0]
    n_queries, n_groups = scores.shape
    queries, groups = [f"q{i}" for i in range(n_queries)], [f"g{i}" for i in range(n_groups)]
    frame = rankings_frame("m", queries, groups, scores, None, None)
    assert list(frame["query"].drop_duplicates()) == queries
    for index, (_, of_query) in enumerate(frame.groupby("query", sort=False)):
        assert sorted(of_query["group"]) == sorted(groups)
        above = [(scores[index] > score).sum() for score in of_query["score"]]
        tied = [(scores[index] == score).sum() for score in of_query["score"]]
        assert list(of_query["rank"]) == [a + (t + 1) / 2 for a, t in zip(above, tied, strict=True)]
        assert (np.diff(of_query["score"]) <= 0).all()
        assert dict(zip(of_query["group"], of_query["score"], strict=True)) == dict(
            zip(groups, scores[index], strict=True)
        )
        assert [groups[g] for g in order(scores)[index]] == list(of_query["group"])
    assert (ranks(scores).sum(axis=1) == n_groups * (n_groups + 1) / 2).all()
