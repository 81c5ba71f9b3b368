"""The scale and the level of scores by retrained groups."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda.config import Data
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import ConfigError, DataError
from guda.core.paths import BASE, Paths
from guda.data.datasets import load_dataset
from guda.methods import METHODS
from guda.methods.counterfactual.plan import CounterfactualSpec
from guda.methods.scaled.compute import leveled, matched
from guda.methods.scaled.plan import ScaledSpec
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.specs import ElboSettings, ElboSpec

DATASET = load_dataset(Data())
DISTINCT = arrays(np.float64, (7, 3), elements=st.floats(-100, 100, width=16), unique=True)


def planned(**scaled):
    values = {"methods": ["guda_scaled"], "attribution": {"guda_scaled": scaled}}
    return Experiment(load_config(values), DATASET)


def test_the_scale_by_hand():
    # 0, 2, 4 become 1, 2, 9, whichever query they are of; between them 1 and 3 become 1.5 and 5.5.
    known, retrained = np.array([[4.0], [0.0], [2.0]]), np.array([[1.0], [9.0], [2.0]])
    np.testing.assert_allclose(matched(np.array([[1.0, 3.0, 2.0]]), known, retrained), [[1.5, 5.5, 2]])
    # Beyond them with the ratio of the standard deviations, sqrt(38/3) over sqrt(8/3).
    slope = np.sqrt(38 / 8)
    np.testing.assert_allclose(matched(np.array([[6.0, -1.0]]), known, retrained), [[9 + 2 * slope, 1 - slope]])


def test_the_level_by_hand():
    scores = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]])
    # One group: half of what its retrained score has more. Two: a third of the sum.
    one, two = leveled(scores, [1], np.array([[4.0], [-1.0]])), leveled(scores, [0, 2], np.array([[4.0, 6], [0, 0]]))
    np.testing.assert_allclose(one, [[2, 3, 4], [-0.5, -0.5, 5.5]])
    np.testing.assert_allclose(two, [[3, 4, 5], [-2, -2, 4]])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(DISTINCT, arrays(np.float64, (7, 1), elements=st.floats(-10, 10, width=16), unique=True))
def test_groups_keep_their_order_for_every_query(scores, retrained):
    found = leveled(matched(scores, scores[:, :1], retrained), [0], retrained)
    assert (found.argsort(1) == scores.argsort(1)).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(DISTINCT)
def test_where_retraining_gives_the_same_nothing_changes(scores):
    known = scores[:, 1:]
    found = leveled(matched(scores, known, known), [1, 2], known)
    np.testing.assert_allclose(found, scores, rtol=1e-12, atol=1e-12)


def written(tmp_path, terms):
    """Files of three queries' terms at two steps of weight 10, by model; and the spec of a retrained group a."""
    elbo = ElboSettings(noise_schedule=load_config({}).noise_schedule, seed=0, steps=[10, 30], first=10, last=30)
    paths = Paths(tmp_path)

    def spec(models):
        for name in [BASE, *models.values()]:
            kl = np.stack([terms[name], terms[name]], axis=1).astype(np.float32)
            job = ElboSpec(model=name, samples="q", elbo=elbo)
            tensors = {"kl": kl, "ids": pack_ids(["q0", "q1", "q2"])}
            save_tensors(paths.elbo(name, "bucket-0000"), tensors, job, model_sha256="s")
        shared = {"elbo": elbo, "base": BASE, "buckets": {"bucket-0000": "q"}, "calibration": None}
        return CounterfactualSpec(**shared, models=models, model_names=models, neighbors={}, members={})

    return ScaledSpec(unlearned=spec({"a": "guda/a", "b": "guda/b"}), retrained=spec({"a": "logo-100/a"})), paths


def test_scores_are_unlearnings_through_scale_and_level(tmp_path):
    # The weights of the two steps add up to 21, so a term of 1 more than the base model's is a score of 21.
    terms = {BASE: [5, 5, 5], "guda/a": [9, 5, 7], "guda/b": [7, 11, 3], "logo-100/a": [5, 11, 8]}
    spec, paths = written(tmp_path, {name: np.array(values) for name, values in terms.items()})
    scores = METHODS["guda_scaled"].scores(spec, paths)
    # In units of 21, unlearned a is 4, 0, 2 and retrained 0, 6, 3: the scale is 1.5 throughout. It gives a 6, 0, 3 and
    # b 3, 9, -3, and the levels are half of -6, 6, 0.
    np.testing.assert_allclose(scores.score / 21, [[3, 0], [3, 12], [3, -3]], atol=1e-6)
    np.testing.assert_array_equal(scores.p_top1_scoring, [[1, 0], [0, 1], [1, 0]])


def test_scores_that_do_not_differ_over_queries_give_no_scale(tmp_path):
    terms = {BASE: [5, 5, 5], "guda/a": [6, 6, 6], "guda/b": [7, 11, 3], "logo-100/a": [5, 11, 8]}
    spec, paths = written(tmp_path, {name: np.array(values) for name, values in terms.items()})
    with pytest.raises(DataError, match="guda_scaled: unlearning gives a the same score for all queries"):
        METHODS["guda_scaled"].scores(spec, paths)


def test_the_retrained_models_and_their_scores_are_counted_and_the_oracles_are_not():
    of = planned(groups=["birch", "amber"])
    needs = METHODS["guda_scaled"].needs(of.method_spec("guda_scaled"), of.paths)
    usual = METHODS["guda"].needs(of.method_spec("guda"), of.paths)
    retrained = ["logo-100/amber", "logo-100/birch"]
    assert needs.build_records.keys() - usual.build_records.keys() == set(map(of.paths.model_record, retrained))
    scored = {of.paths.elbo_record(name, "bucket-0000") for name in retrained}
    assert needs.query_records.keys() - usual.query_records.keys() == scored
    assert needs.build_records.items() >= usual.build_records.items()
    assert METHODS["guda_scaled"].judged(of.method_spec("guda_scaled")).keys() == {
        BASE, *(f"guda/{group}" for group in of.groups), *retrained,
    }  # fmt: skip


def test_the_seed_chooses_the_group_and_leaves_unlearning_as_it_is():
    specs = [planned(seed=seed).method_spec("guda_scaled") for seed in range(100, 130)]
    assert len({spec.unlearned.digest() for spec in specs}) == 1
    assert all(len(spec.retrained.models) == 1 for spec in specs)
    assert {group for spec in specs for group in spec.retrained.models} == set(planned().groups)


@pytest.mark.parametrize(
    ("scaled", "message"),
    [
        ({"seed": 2}, "attribution.guda_scaled.seed is 2, which is one of oracle.seeds"),
        ({"groups": ["ambr"]}, "attribution.guda_scaled.groups: no group 'ambr'; did you mean 'amber'"),
        (
            {"groups": ["amber", "birch", "cedar", "dune", "ember", "flint"]},
            "attribution.guda_scaled.groups names all groups",
        ),
    ],
)
def test_what_gives_no_honest_scale_is_refused(scaled, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        planned(**scaled)
