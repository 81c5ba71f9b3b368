"""Several methods as one: by hand, what it does not depend on, its costs, and members that cannot be."""

import numpy as np
import pytest
from golden_methods import save_scores
from text_experiments import text_experiment

from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import TRAINING, Paths
from guda.methods import get_method
from guda.methods.ensemble.compute import combined
from guda.methods.ensemble.plan import EnsembleSpec
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

FIRST = np.array([[5.0, 1.0], [4.0, 8.0]])  # means 3 and 6, contrasts 2 -2 and -2 2: the spread is 2
SECOND = np.array([[10.0, 30.0], [40.0, 20.0]])  # contrasts -10 10 and 10 -10: the spread is 10


def experiment(members, **changes):
    return Experiment(
        load_config({"methods": ["ensemble"], "attribution": {"ensemble": {"members": members}}} | changes)
    )


def test_scores_by_hand():
    """2 (1 - 1/2) / (1 + 1/2) = 2/3 around the first one's means."""
    expected = [[3 + 2 / 3, 3 - 2 / 3], [6 - 2 / 3, 6 + 2 / 3]]
    np.testing.assert_allclose(combined([FIRST, SECOND], [1, 0.5]), expected)
    np.testing.assert_allclose(combined([FIRST, SECOND], [4, 2]), expected)


def test_one_member_alone_keeps_its_scores():
    scores = np.random.default_rng(0).normal(2, 3, (20, 5))
    np.testing.assert_allclose(combined([scores], [0.3]), scores, rtol=1e-12)
    np.testing.assert_allclose(combined([scores, 7 * scores + 100], [1, 2]), scores, rtol=1e-12)


def test_the_unit_and_the_levels_of_a_later_member_do_not_matter():
    first, second = np.random.default_rng(1).normal(size=(2, 20, 5))
    levels = np.random.default_rng(2).normal(size=(20, 1))
    found = combined([first, 1e-6 * second + levels], [1, 0.5])
    np.testing.assert_allclose(found, combined([first, second], [1, 0.5]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tied", [np.zeros((2, 2)), np.full((2, 2), 0.1), np.array([[0.1, 0.1 + 1e-17], [3.3, 3.3]])])
def test_a_member_by_which_all_groups_tie_has_no_part(tied):
    np.testing.assert_allclose(combined([FIRST, tied, SECOND], [1, 9, 0.5]), combined([FIRST, SECOND], [1, 0.5]))
    np.testing.assert_allclose(combined([tied, FIRST], [1, 1]), tied)
    np.testing.assert_array_equal(combined([tied, tied], [1, 1]), tied)


def test_members_are_compared_by_the_names_of_queries_and_groups(tmp_path):
    paths = Paths(tmp_path)
    first = save_scores(paths, "guda", FIRST)
    second = save_scores(paths, "nearest", SECOND[::-1, ::-1], queries=["q1", "q0"], groups=["b", "a"])
    found = get_method("ensemble").scores(EnsembleSpec(members=[first, second]), paths)
    assert (found.queries, found.groups, found.se, found.p_top1) == (["q0", "q1"], ["a", "b"], None, None)
    np.testing.assert_allclose(found.score, combined([FIRST, SECOND], [1.0, 0.5]))
    other = save_scores(paths, "nearest", SECOND, groups=["a", "c"])
    with pytest.raises(ArtifactError, match=r"nearest\.csv: its groups differ from those of .*guda\.csv\. Delete both"):
        get_method("ensemble").scores(EnsembleSpec(members=[first, other]), paths)


def test_what_members_share_costs_once():
    of = experiment({"guda": 1, "kernel": 0.5, "embedding": 0.5})
    spec = of.method_spec("ensemble")
    assert [member.method for member in spec.members] == ["guda", "kernel", "embedding"]
    needs = get_method("ensemble").needs(spec, of.paths)
    each = [get_method(name).needs(of.method_spec(name), of.paths) for name in ("guda", "kernel", "embedding")]
    assert needs.files == [of.paths.scores(name) for name in ("guda", "kernel", "embedding")]
    assert needs.build_records == each[0].build_records | each[2].build_records
    assert (
        each[1].build_records
        == each[2].build_records
        == {of.paths.features_record("embedding", TRAINING): of.method_spec("embedding").training}
    )
    own = {of.paths.scores_record(name): of.method_spec(name).digest() for name in ("guda", "kernel", "embedding")}
    assert needs.query_records == own | each[0].query_records | each[1].query_records | each[2].query_records
    assert get_method("ensemble").judged(spec) == get_method("guda").judged(of.method_spec("guda"))


def test_resources_and_operators_are_those_of_members_too():
    of = experiment({"guda_esd": 1, "kernel": 1})
    assert of.methods_used == ["ensemble", "guda_esd", "kernel"]
    assert [operator.name for operator in of.operators_used] == ["guda", "guda_esd"]


def test_another_weight_or_order_is_another_spec_and_the_default_is_fixed():
    specs = [experiment(members).method_spec("ensemble") for members in (
        None, {"guda": 1.0, "kernel": 0.5}, {"guda": 1.0, "kernel": 1.0}, {"kernel": 0.5, "guda": 1.0},
    )]  # fmt: skip
    assert specs[0] == specs[1]
    assert len({spec.digest() for spec in specs}) == 3


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"guda": 1, "kernl": 0.5},
            r"attribution\.ensemble\.members: 'kernl' cannot be a member; did you mean 'ker",
        ),
        ({"guda": 1, "ensemble": 1}, r"attribution\.ensemble\.members: 'ensemble' cannot be a member; "),
        (
            {"prompt": 1},
            r"attribution\.ensemble\.members: prompt is not supported for models without prompts; known: guda",
        ),
        ({"guda": 0}, r"attribution\.ensemble\.members\.guda: .*greater than 0"),
        ({"guda": -1}, r"attribution\.ensemble\.members\.guda: .*greater than 0"),
        ({}, r"attribution\.ensemble\.members: "),
    ],
)
def test_members_that_cannot_be_are_refused_by_name(members, message):
    with pytest.raises(ConfigError, match=message):
        experiment(members)


def test_members_are_checked_as_methods_are():
    with pytest.raises(ConfigError, match=r"attribution\.calibration\.count is 1, and group"):
        experiment({"kernel": 1, "guda": 1}, attribution={
            "ensemble": {"members": {"kernel": 1, "guda": 1}}, "calibration": {"count": 1},
        })  # fmt: skip
    of = text_experiment(methods=["ensemble"], attribution={"ensemble": {"members": {"guda": 1, "prompt": 1}}})
    assert [member.spec for member in of.method_spec("ensemble").members] == [
        of.method_spec(name).canonical() for name in ("guda", "prompt")
    ]
