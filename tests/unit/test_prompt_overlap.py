"""Descriptors counted in prompts, by hand, and read from the table of the queries."""

import numpy as np
import pandas as pd
import pytest

from guda.core.artifacts import write_csv
from guda.core.errors import ArtifactError
from guda.core.paths import Paths, record_of
from guda.core.records import write_record
from guda.methods.prompt.compute import prompt_overlap
from guda.methods.prompt.plan import PromptOverlap, PromptOverlapSpec
from guda.specs import QueryTableSpec

DESCRIPTORS = {"neon": ["dark background", "red paint"], "pop": ["red paint", "dots"]}
TABLE = QueryTableSpec(buckets={"bucket-0000": "q"}, known="k")
SPEC = PromptOverlapSpec(descriptors=DESCRIPTORS, queries=TABLE.digest())


def write_table(paths, **columns):
    write_csv(paths.query_table(), pd.DataFrame({"query": ["q0", "q1"], **columns}))
    write_record(record_of(paths.query_table()), TABLE, [paths.query_table()], seconds=0)


def test_a_score_counts_the_descriptors_in_the_prompt():
    prompts = ["a digit, red paint, dark background", "a digit, Dots", "a digit with dotsy red paints", "dots, dots"]
    assert prompt_overlap(prompts, list(DESCRIPTORS.values())).tolist() == [[2, 1], [0, 1], [0, 0], [0, 1]]


def test_signs_in_a_descriptor_are_taken_as_they_are():
    assert prompt_overlap(["made in c++, a.b", "axb"], [["c++", "a.b"]]).tolist() == [[2], [0]]


def test_scores_come_from_the_table_of_queries(tmp_path):
    method, paths = PromptOverlap("prompt"), Paths(tmp_path)
    write_table(paths, prompt=["dots, red paint", "dark background"])
    scores = method.scores(method.parse(SPEC.canonical()), paths)
    assert (scores.queries, scores.groups) == (["q0", "q1"], ["neon", "pop"])
    np.testing.assert_array_equal(scores.score, [[1, 2], [1, 0]])
    assert method.needs(SPEC, paths).files == [paths.query_table(), record_of(paths.query_table())]


def test_another_table_is_refused(tmp_path):
    write_table(Paths(tmp_path), prompt=["a", "b"])
    with pytest.raises(ArtifactError, match="made for another configuration"):
        PromptOverlap("prompt").scores(SPEC.model_copy(update={"queries": "other"}), Paths(tmp_path))
