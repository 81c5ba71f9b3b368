"""Whether each group was forgotten, by scores of training images: figures worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guda.core.paths import BASE
from guda.core.records import write_record
from guda.models.forgetting import BARELY, describe, forgetting, summary, unknown
from guda.plan.config import load_config
from guda.plan.experiment import Experiment


def figure(own, retained):
    (found,) = forgetting(np.array([[*own, *retained]]).T, [np.arange(len(own) + len(retained)) < len(own)])
    return found


def test_own_images_stand_out_in_standard_deviations_of_retained_ones():
    # Means 7 and 2; squared deviations 4, 4, 0, 1, 1 over 4.
    assert figure([10, 4, 8, 6], [0, 4, 2, 3, 1]) == pytest.approx(5 / np.sqrt(10 / 4), rel=1e-5)
    assert figure([2, 2, 2, 2], [0, 4, 2, 3, 1]) == 0
    assert figure([0, 0, -1, 1], [0, 4, 2, 3, 1]) == pytest.approx(-2 / np.sqrt(10 / 4), rel=1e-5)


def test_each_group_is_judged_by_its_own_model_and_members():
    scores = np.array([[9.0, 1, 9, 1, 0, 2, 0, 2], [1.0, 0, 2, 1, 5, 7, 5, 7]]).T
    own = np.arange(8) < 4
    # Of the first model 5 against 1, of the second 6 against 1: over sqrt(4/3) and sqrt(2/3).
    assert forgetting(scores, [own, ~own]) == pytest.approx([4 / np.sqrt(4 / 3), 5 / np.sqrt(2 / 3)], rel=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(-50, 50), min_size=9, max_size=9), st.integers(1, 9), st.integers(-50, 50))
def test_calibration_and_the_unit_cancel(scores, scale, shift):
    expected = figure(scores[:4], scores[4:])
    found = figure(*np.split(scale * np.array(scores) + shift, [4]))
    assert found is expected is None or found == pytest.approx(expected, rel=1e-5)


def test_of_few_images_and_of_retained_ones_that_do_not_vary_there_is_no_figure():
    assert figure([1, 2, 3], [0, 1, 2, 3]) is None
    assert figure([0, 1, 2, 3], [1, 2, 3]) is None
    assert figure([], [0, 1, 2, 3]) is None
    assert figure([1, 2, 3, 4], [1, 1, 1, 1]) is None


def test_a_method_has_the_median_and_the_least_of_its_groups():
    assert summary({"a": 5.0, "b": None, "c": 0.25, "d": 1.0}) == {"forgetting_median": 1.0, "forgetting_worst": 0.25}
    assert summary({"a": None}) == {}


def test_groups_barely_forgotten_are_named_the_least_first():
    assert describe("guda", {"a": BARELY, "b": None, "c": 41.0}) == []
    (text,) = describe("guda", {"a": 0.24, "b": 3.0, "c": -0.5, "d": None})
    assert text.startswith("guda: 2 of 4 groups barely forgotten: c (-0.5), a (0.24). Under their unlearned models")
    (text,) = describe("guda", {str(number): number / 100 for number in range(7)})
    assert "barely forgotten: 0 (0), 1 (0.01), 2 (0.02), 3 (0.03), 4 (0.04) and 2 more." in text


def test_groups_of_which_nothing_is_known_are_named():
    assert unknown("guda", {"a": 1.0}) == unknown("nearest", {}) == []
    (text,) = unknown("guda", {"a": 1.0, "b": None, "c": None})
    assert text.startswith("guda: it is unknown whether b, c were forgotten")
    assert text.endswith("raise attribution.calibration.count")


def test_the_plan_tells_which_groups_were_barely_forgotten(tmp_path):
    of = Experiment(load_config({"results": str(tmp_path), "data": {"groups": ["amber", "cedar"]}}))
    spec, found = of.method_spec("guda"), {"amber": 12.0, "cedar": 0.1}
    write_record(of.paths.scores_record("guda"), spec, [], seconds=1.0, forgetting=found)
    (note,) = of.notes()
    assert note.startswith("guda: 1 of 2 groups barely forgotten: cedar (0.1).")
    Path(of.paths.scores_record("guda")).unlink()
    write_record(of.paths.scores_record("guda"), spec, [], seconds=1.0)  # as by an older version
    assert of.notes() == []
    other = spec.model_copy(update={"base": BASE})  # will be made again
    write_record(of.paths.scores_record("guda"), other, [], seconds=1.0, forgetting=found)
    assert of.notes() == []
