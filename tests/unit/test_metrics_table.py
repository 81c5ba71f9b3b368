"""The tables of agreement and cost, against numbers worked out by hand.

Three queries and groups a, b, c. The oracle puts a, b, c first in turn. METHOD follows it in the first two queries and
puts c last in the third. The second oracle follows in all but the second query, where it puts b second.
"""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from guda.config import Metrics
from guda.core.artifacts import write_csv
from guda.core.errors import ArtifactError, DataError
from guda.core.paths import Paths, record_of
from guda.core.records import total_cost, write_record
from guda.evaluation.metrics_table import (
    CEILING,
    CONSTANT,
    HEALTH,
    constant_scores,
    metrics_table,
    read_costs,
    read_rankings,
    read_score_matrices,
    score_matrices,
    sources_of_content,
    vote,
)
from guda.evaluation.ranking import rankings_frame
from guda.evaluation.scores import Scores, read_scores, scores_frame
from guda.methods import METHODS
from guda.methods.random.plan import RandomSpec
from guda.specs import RankingsSpec

COLUMNS = [
    "method", "n_queries", "n_groups", "top1", "top1_low", "top1_high", "top3", "ndcg_exp@3", "ndcg_lin@3", "mrr",
    "rbo", "rbo_raw", "wpra@3", "spearman", "kendall", "top1_balanced", "kappa",
    "effect_spearman", "contrast_spearman", "margin_spearman", "decisive_auroc", "decisive_auroc_margin",
    "lrap", "average_precision", "size_ratio",
    "build_seconds", "query_seconds", "build_cpu_seconds", "query_cpu_seconds",
    "build_evaluations", "query_evaluations", "speedup",
    "health_median", "health_worst", "forgetting_median", "forgetting_worst",
]  # fmt: skip
ORACLE = np.array([[5.0, 1, 0], [0, 4, 3], [1, 2, 6]])
SECOND = np.array([[4.0, 1, 0], [0, 2, 5], [3, 1, 5]])
METHOD = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])
SETTINGS = Metrics(bootstrap_samples=40, seed=0, decisive_ratio=2.0)


def cost(build, query, evaluations=0, health=(1.0, 1.0)):
    return {
        "build_seconds": build,
        "query_seconds": query,
        "build_cpu_seconds": 2 * build,
        "query_cpu_seconds": 2 * query,
        "build_evaluations": 10 * evaluations,
        "query_evaluations": evaluations,
        "health_median": health[0],
        "health_worst": health[1],
        "forgetting_median": 2.0,
        "forgetting_worst": 0.5,
    }


COSTS = {"logo": cost(90.0, 10.0, 60), "logo-2": cost(60.0, 20.0, 70), "m": cost(15.0, 5.0, 8)}


def table(matrices, oracles, rows=None, costs=COSTS):
    return metrics_table(matrices, oracles, ["m"], costs, SETTINGS, rows).set_index("method")


@pytest.fixture
def two_oracles():
    return table({"logo": ORACLE, "logo-2": SECOND, "m": METHOD}, ["logo", "logo-2"])


# --- rows and columns --------------------------------------------------------------------------------


def test_the_columns_are_those_that_users_rely_on():
    frame = metrics_table({"logo": ORACLE, "m": METHOD}, ["logo"], ["m"], COSTS, SETTINGS)
    assert list(frame.columns) == COLUMNS


def test_rows_are_the_oracle_then_the_methods_in_their_order():
    matrices = {"z": METHOD, "logo": ORACLE, "m": METHOD}
    frame = metrics_table(matrices, ["logo"], ["z", "m"], COSTS | {"z": cost(1.0, 1.0)}, SETTINGS)
    assert list(frame["method"]) == ["logo", "z", "m", "constant"]


def test_the_ceiling_needs_a_second_oracle(two_oracles):
    assert list(table({"logo": ORACLE, "m": METHOD}, ["logo"]).index) == ["logo", "m", "constant"]
    assert list(two_oracles.index) == ["logo", "m", "constant", "ceiling"]


def test_counts_and_evaluations_are_whole_numbers(two_oracles):
    for name in ("n_queries", "n_groups", "build_evaluations", "query_evaluations"):
        assert two_oracles[name].dtype == int
    assert (two_oracles["n_queries"] == 3).all()
    assert (two_oracles["n_groups"] == 3).all()


# --- agreement by hand -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "of_method", "of_ceiling"),
    [
        ("top1", 2 / 3, 2 / 3),
        # c, first under the oracle in the third query, ties for the places two and three; b, in the second, is second.
        ("mrr", (1 + 1 + (1 / 2 + 1 / 3) / 2) / 3, (1 + 1 / 2 + 1) / 3),
        ("top3", 1, 1),
        # First-place scores: method 1 1 1; second oracle 4 5 5 against 5 4 6, centered ranks (-1 .5 .5).(0 -1 1) = 0.
        ("effect_spearman", 0, 0),
        # Contrasts 3, 5/3, 3 of the oracle; 2/3 each of the method; 7/3, 8/3, 2 of the second: (0 1 -1).(.5 -1 .5) < 0.
        ("contrast_spearman", 0, -1.5 / math.sqrt(1.5 * 2)),
        # Margins 4, 1, 4; 1, 1, 1; 3, 3, 2: (.5 .5 -1).(.5 -1 .5) of length sqrt(1.5) each.
        ("margin_spearman", 0, -0.75 / 1.5),
        # a, b, c against a, b, a, and against a, c, c: p_o = 2/3, p_e = (1 * 2 + 1 * 1) / 9.
        ("kappa", 1 / 2, 1 / 2),
        ("top1_balanced", 2 / 3, 2 / 3),
        # Only the first query is decisive: 4 >= 2 * 3 fails in the second, 5 >= 2 * 3 in the third.
        ("decisive_auroc", 1 / 2, 0),
        ("decisive_auroc_margin", 1 / 2, 3 / 4),
        # The contrasts above: 2/9, 2/5, 2/9 of the oracle's, and 7/9, 8/5, 2/3.
        ("size_ratio", 2 / 9, 7 / 9),
    ],
)
def test_agreement_by_hand(two_oracles, column, of_method, of_ceiling):
    assert two_oracles.loc["m", column] == pytest.approx(of_method)
    assert two_oracles.loc["ceiling", column] == pytest.approx(of_ceiling)


def test_the_oracle_agrees_with_itself(two_oracles):
    perfect = ["top1", "top1_low", "top1_high", "top3", "ndcg_exp@3", "ndcg_lin@3", "mrr", "rbo", "wpra@3", "spearman"]
    assert (two_oracles.loc["logo", [*perfect, "kendall", "effect_spearman"]] == 1).all()
    assert two_oracles.loc["logo", "rbo_raw"] == pytest.approx(1 - 0.9**3)
    assert (two_oracles.loc["logo", ["top1_balanced", "kappa", "contrast_spearman", "margin_spearman"]] == 1).all()
    assert two_oracles.loc["logo", "decisive_auroc"] == 1 / 2  # 5 lies between 4 and 6


def test_the_ceiling_of_three_oracles_is_the_mean_over_the_others():
    matrices = {"logo": ORACLE, "logo-2": SECOND, "logo-3": ORACLE, "m": METHOD}
    costs = COSTS | {"logo-3": cost(80.0, 40.0, 90)}
    ceiling = table(matrices, ["logo", "logo-2", "logo-3"], costs=costs).loc["ceiling"]
    assert ceiling["top1"] == pytest.approx((2 / 3 + 1) / 2)
    assert ceiling["mrr"] == pytest.approx((5 / 6 + 1) / 2)
    assert (ceiling["build_seconds"], ceiling["query_seconds"], ceiling["query_evaluations"]) == (70, 30, 80)


def test_rows_select_queries():
    matrices = {"logo": ORACLE, "logo-2": SECOND, "m": METHOD}
    frame = table(matrices, ["logo", "logo-2"], np.array([True, False, True]))
    assert (frame["n_queries"] == 2).all()
    assert frame.loc["m", "top1"] == 1 / 2
    assert frame.loc["ceiling", "top1"] == 1
    one = table(matrices, ["logo", "logo-2"], np.array([True, False, False]))
    assert math.isnan(one.loc["m", "decisive_auroc"])  # every selected query is decisive


# --- one answer for all ------------------------------------------------------------------------------


def test_the_constant_answer_is_the_commonest_first_group_and_costs_nothing():
    oracle = np.array([[1.0, 5, 0], [0, 4, 3], [1, 2, 6], [2, 3, 1], [7, 0, 1]])  # b, b, c, b, a
    row = metrics_table({"logo": oracle, "m": -oracle}, ["logo"], ["m"], COSTS, SETTINGS).set_index("method")
    found = row.loc["constant"]
    assert found[["top1", "kappa", "top1_balanced"]].tolist() == pytest.approx([3 / 5, 0, 1 / 3])
    # Always b, then a or c.
    assert found["mrr"] == pytest.approx((3 + 2 * (1 / 2 + 1 / 3) / 2) / 5)
    assert found[["effect_spearman", "contrast_spearman", "margin_spearman"]].tolist() == [0, 0, 0]
    assert (found["build_seconds":"query_evaluations"] == 0).all()
    assert found[["size_ratio", "speedup"]].isna().all()
    assert found["health_median":"forgetting_worst"].isna().all()


def test_groups_that_are_commonest_alike_share_the_constant_answer(two_oracles):
    assert constant_scores(ORACLE).tolist() == [[1, 1, 1]] * 3
    assert two_oracles.loc["constant", "top1"] == pytest.approx(1 / 3)
    assert two_oracles.loc["constant", "kappa"] == pytest.approx(0)
    # a is first once and in two ties of two, b once and in one, c in one: 2, 1.5 and 0.5.
    tied = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 0]])
    assert constant_scores(tied).tolist() == [[1, 0, 0]] * 4


def test_the_constant_answer_is_that_of_the_queries_it_is_measured_on():
    matrices = {"logo": np.vstack([ORACLE, ORACLE[:1]]), "m": np.vstack([METHOD, METHOD[:1]])}
    assert table(matrices, ["logo"]).loc["constant", "top1"] == 1 / 2  # a, twice of four
    last = table(matrices, ["logo"], np.array([False, False, True, False]))
    assert last.loc["constant", "top1"] == 1  # c


def test_no_method_has_the_name_of_a_row_that_the_table_adds():
    assert not {CEILING, CONSTANT} & set(METHODS)


# --- cost --------------------------------------------------------------------------------------------


def test_speedup_is_the_oracles_evaluations_over_the_methods(two_oracles):
    """However fast they were made; of the answer that asks no network there is none."""
    assert two_oracles["speedup"].drop("constant").to_dict() == {"logo": 1, "m": 660 / 88, "ceiling": 660 / 770}
    free = table({"logo": ORACLE, "m": METHOD}, ["logo"], costs=COSTS | {"m": cost(15.0, 5.0, 0)})
    assert free.loc[["m", "constant"], "speedup"].isna().all()


def test_costs_stand_in_the_table_as_recorded(two_oracles):
    assert two_oracles.loc["m", list(COSTS["m"])].to_dict() == COSTS["m"]
    of_ceiling = two_oracles.loc["ceiling", list(COSTS["m"])]
    assert of_ceiling[:"health_worst"].to_dict().items() <= COSTS["logo-2"].items()
    assert of_ceiling["forgetting_median":].isna().all()  # nothing was unlearned


def test_health_of_the_ceiling_is_the_other_oracles():
    """The mean of their medians, and the worst of them all; of a method without models there is none."""
    costs = COSTS | {"logo-2": cost(1, 1, health=(1.0, 3.0)), "logo-3": cost(1, 1, health=(2.0, 2.5))}
    costs["m"] = cost(1, 1, health=(np.nan, np.nan))
    matrices = {"logo": ORACLE, "logo-2": SECOND, "logo-3": ORACLE, "m": METHOD}
    frame = table(matrices, ["logo", "logo-2", "logo-3"], costs=costs)
    assert frame.loc["ceiling", ["health_median", "health_worst"]].tolist() == [1.5, 3.0]
    assert frame.loc["m", ["health_median", "health_worst"]].isna().all()


def test_costs_add_up_over_records_but_for_what_an_older_one_does_not_tell(tmp_path):
    spec = RandomSpec(groups=["a"], buckets={}, seed=0)
    write_record(tmp_path / "old", spec, [], seconds=1.0, evaluations=10)
    for name in ("x", "y"):
        write_record(tmp_path / name, spec, [], seconds=2.0, cpu_seconds=3.0, evaluations=20)
    of = {name: {str(tmp_path / each): spec.digest() for each in name} for name in ("xy", "")}
    assert total_cost(of["xy"]) == {"seconds": 4, "cpu_seconds": 6, "evaluations": 40}
    assert total_cost(of["xy"] | {str(tmp_path / "old"): spec.digest()}) == {"seconds": 5, "evaluations": 50}
    assert total_cost(of["xy"], {str(tmp_path / "x"): 0.25})["evaluations"] == 20 / 4 + 20
    assert total_cost(of[""]) == {"seconds": 0, "cpu_seconds": 0, "evaluations": 0}


def test_records_of_older_scores_tell_no_health_and_no_processor_seconds(tmp_path):
    paths, made = Paths(tmp_path), RandomSpec(groups=["a"], buckets={}, seed=0)
    rankings = RankingsSpec(scores={"logo": made.digest()}, files={}, queries={})
    write_record(record_of(paths.rankings()), rankings, [], seconds=1.0)
    newer = [*HEALTH, "build_cpu_seconds", "query_cpu_seconds"]
    old = {name: value for name, value in COSTS["logo"].items() if name not in newer}
    write_record(paths.scores_record("logo-7"), made, [], seconds=1.0, **old)
    (found,) = read_costs(rankings.digest(), {"logo": "logo-7"}, paths).values()
    assert {name: found[name] for name in old} == old
    assert np.isnan([value for name, value in found.items() if name not in old]).all()


def test_costs_are_read_from_the_records_of_the_score_files(tmp_path):
    paths, files = Paths(tmp_path), {"logo": "logo-7", "m": "m"}
    made = {name: RandomSpec(groups=[name], buckets={}, seed=0) for name in files}
    rankings = RankingsSpec(scores={name: spec.digest() for name, spec in made.items()}, files=files, queries={})
    write_record(record_of(paths.rankings()), rankings, [], seconds=1.0)
    for name, file in files.items():
        write_record(paths.scores_record(file), made[name], [], seconds=1.0, evaluations=5, **COSTS[name])
    assert read_costs(rankings.digest(), files, paths) == {"logo": COSTS["logo"], "m": COSTS["m"]}
    shutil.copy(paths.scores_record("m"), paths.scores_record("logo-7"))
    with pytest.raises(ArtifactError, match=re.escape(paths.scores_record("logo-7"))):
        read_costs(rankings.digest(), files, paths)


# --- one order of queries and groups -----------------------------------------------------------------


def rankings(**matrices):
    frames = [
        rankings_frame(name, queries, groups, np.array(scores), None, None)
        for name, (queries, groups, scores) in matrices.items()
    ]
    return pd.concat(frames)


def test_matrices_of_all_methods_have_one_order_of_queries_and_groups():
    frame = rankings(
        x=(["q2", "q1"], ["b", "a"], [[1.0, 2.0], [3.0, 4.0]]), y=(["q1", "q2"], ["a", "b"], [[5.0, 6.0], [7.0, 8.0]])
    )
    queries, matrices = score_matrices(frame)
    assert queries == ["q1", "q2"]
    assert matrices["x"].tolist() == [[4, 3], [2, 1]]
    assert matrices["y"].tolist() == [[5, 6], [7, 8]]


def test_the_order_of_the_rows_does_not_matter():
    frame = rankings(x=(["q1", "q2"], ["a", "b", "c"], [[1.0, 2, 3], [4, 5, 6]]))
    for seed in range(3):
        _, matrices = score_matrices(frame.sample(frac=1, random_state=seed))
        assert matrices["x"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_methods_come_in_the_order_of_the_table_and_no_score_is_given_twice():
    frame = rankings(z=(["q"], ["a", "b"], [[1.0, 2.0]]), y=(["q"], ["a", "b"], [[3.0, 4.0]]))
    assert [*score_matrices(frame)[1]] == ["z", "y"]
    with pytest.raises(ValueError, match="several scores for a query and a group"):
        score_matrices(pd.concat([frame, frame.iloc[:1]]))


NAMES = ["001", "1e5", "NA", "None", "nan", "null", "true"]


def test_names_in_the_rankings_come_back_as_text_and_scores_to_the_last_digit(tmp_path):
    scores = [[0.1 + 0.2, 1 / 3, 1e-300, -5.0, 2.0, 3.0, 4.0]]
    file, spec = tmp_path / "rankings.csv", RankingsSpec(scores={}, files={}, queries={})
    write_csv(file, rankings(x=(["7"], NAMES, scores)))
    write_record(record_of(file), spec, [file], seconds=0)
    for queries, matrices in (
        score_matrices(read_rankings(file, spec.digest())),
        read_score_matrices(file, spec.digest()),
    ):
        assert queries == ["7"]
        assert matrices["x"].tolist() == scores


def test_a_table_in_blocks_is_the_table(tmp_path):
    """Written some queries at a time and read a megabyte at a time, in whichever order its rows are."""
    queries, groups = [f"query {number}" for number in range(5000)], ["b", 'a, "x"\n', "c"]
    scores = np.random.default_rng(0).normal(size=(2, 5000, 3))
    frame = rankings(y=(queries, groups, scores[0]), x=(queries[::-1], groups[::-1], scores[1]))
    file, spec = tmp_path / "rankings.csv", RankingsSpec(scores={}, files={}, queries={})
    write_csv(file, (frame.iloc[start : start + 500] for start in range(0, len(frame), 500)))
    assert file.stat().st_size > 2**20
    write_record(record_of(file), spec, [file], seconds=0)
    assert file.read_text() == frame.to_csv(index=False, lineterminator="\n")
    expected, found = score_matrices(frame), read_score_matrices(file, spec.digest())
    assert found[0] == expected[0]
    assert [*found[1]] == [*expected[1]]
    for name in expected[1]:
        assert np.array_equal(found[1][name], expected[1][name])


def test_names_in_the_scores_come_back_as_text(tmp_path):
    scores = Scores(["7", "8"], NAMES, np.arange(14.0).reshape(2, 7) / 3)
    file, spec = tmp_path / "x.csv", RandomSpec(groups=NAMES, buckets={}, seed=0)
    write_csv(file, scores_frame(scores))
    write_record(record_of(file), spec, [file], seconds=0)
    again = read_scores(str(file), spec.digest())
    assert (again.queries, again.groups) == (["7", "8"], NAMES)
    assert np.array_equal(again.score, scores.score)
    assert np.isnan(again.se).all()


@pytest.mark.parametrize(("column", "value"), [("score", "nan"), ("score", ""), ("score", "-inf"), ("se", "inf")])
@pytest.mark.parametrize("read", [read_scores, read_rankings, read_score_matrices])
def test_scores_that_are_not_finite_are_refused_by_the_files_name(tmp_path, column, value, read):
    """As an older version wrote them, under a record that describes the very file."""
    frame = rankings_frame("x", ["7"], ["a", "b"], np.array([[2.0, 1.0]]), np.ones((1, 2)), None).astype(object)
    frame.loc[1, column] = value
    file, spec = tmp_path / "x.csv", RandomSpec(groups=["a", "b"], buckets={}, seed=0)
    write_csv(file, frame)
    write_record(record_of(file), spec, [file], seconds=0)
    if read is read_score_matrices and column == "se":
        assert read(str(file), spec.digest())[1]["x"].tolist() == [[2.0, 1.0]]  # which this one does not read
        return
    count = f"1 of 2 values of '{column}' are not finite"
    with pytest.raises(ArtifactError, match=rf"{re.escape(str(file))}: {count}.*lower its learning rate.*delete"):
        read(str(file), spec.digest())


def test_no_method_gives_scores_that_are_not_finite():
    with pytest.raises(FloatingPointError, match="1 of 2 values of 'score' are not finite"):
        Scores(["q"], ["a", "b"], np.array([[1.0, np.nan]]))


# --- where a content comes from ----------------------------------------------------------------------


def test_sources_of_contents_by_hand():
    groups = {"a": {"i0", "i1", "i2", "i4", "i6"}, "b": {"i3", "i6"}, "c": {"i8"}}
    contents = {
        "all in one group": (["i0", "i1"], "sole"),
        "in two groups, image by image": (["i2", "i3"], "shared"),
        "one in a group, one in none": (["i4", "i5"], "shared"),
        "one image in two groups at once": (["i6"], "shared"),
        "in no group": (["i7"], "shared"),
        "a single image": (["i8"], "sole"),
    }
    rows = [(sample, content) for content, (ids, _) in contents.items() for sample in ids]
    frame = pd.DataFrame(rows, columns=["id", "label"])
    assert sources_of_content(frame, "label", groups) == {content: source for content, (_, source) in contents.items()}


def test_a_content_that_two_groups_share_entirely_is_shared():
    frame = pd.DataFrame({"id": ["i0", "i1"], "label": ["x", "x"]})
    assert sources_of_content(frame, "label", {"a": {"i0", "i1"}, "b": {"i0", "i1"}}) == {"x": "shared"}


def test_an_unknown_content_column_is_refused():
    with pytest.raises(DataError, match=r"metrics\.content: no column 'lable'.*'label'"):
        sources_of_content(pd.DataFrame({"id": ["i0"], "label": ["x"]}), "lable", {})


@pytest.mark.parametrize(
    ("nearest", "winner"),
    [
        ([0, 2, 3], "y"),  # x y y: the majority, though another is nearest
        ([0, 2], "x"),  # a tie: the nearer
        ([2, 0], "y"),
        ([2, 0, 1, 3, 4], "y"),  # y x x y z: two against two, y is nearer
        ([4, 0, 1, 2, 3], "x"),  # z x x y y: the nearest of all has one vote only
        ([4, 2, 0], "z"),  # all differ
    ],
)
def test_the_majority_wins_and_the_nearer_a_tie(nearest, winner):
    contents = np.array(["x", "x", "y", "y", "z"], dtype=object)
    assert vote(np.array([nearest]), contents).tolist() == [winner]


def test_every_query_votes_for_itself():
    contents = np.array(["x", "y"], dtype=object)
    assert vote(np.array([[0], [1], [0]]), contents).tolist() == ["x", "y", "x"]
