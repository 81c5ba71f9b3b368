"""Methods that compare gradients, added to a finished run: features once, and scores that follow from them."""

import json

import numpy as np
import pandas as pd
import pytest
from harness import Workflow

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import BASE, TRAINING
from guda.data.groups import read_members

METHODS = ["trak", "das"]
STEPS, DIM = 2, 16
OVERLAY = f"""
methods: {METHODS}
attribution:
  trak: {{steps: {STEPS}, projection_dim: {DIM}, aggregate: sum}}
  das: {{steps: {STEPS}, projection_dim: {DIM}, aggregate: sum}}
"""


@pytest.fixture(scope="module")
def compared(workflow, tmp_path_factory) -> Workflow:
    """A copy of the finished run in which the configuration then names the methods."""
    copy = workflow.copied(tmp_path_factory.mktemp("gradients") / "copy")
    run = copy.snakemake("--cores", "2", copy.experiment.paths.metrics(), overlays=(OVERLAY,))
    assert run.returncode == 0, run.stderr
    return copy


@pytest.fixture(scope="module")
def at(compared):
    return lambda path: compared.directory / path


@pytest.fixture(scope="module")
def paths(compared):
    return compared.experiment.paths


def read(path):
    return load_tensors(path, framework="np")[0]


def test_only_what_is_new_was_made(workflow, compared, at, paths):
    for path in (paths.model_weights(BASE), paths.images(), paths.scores("logo-1")):
        assert at(path).stat().st_mtime_ns == (workflow.directory / path).stat().st_mtime_ns
    assert not (workflow.results / "features").exists()
    assert list(pd.read_csv(at(paths.metrics()))["method"]) == ["logo", *METHODS, "constant", "ceiling"]


def test_features_are_as_promised(compared, at, paths):
    for method in METHODS:
        for bucket in (TRAINING, *compared.experiment.buckets):
            images = read(at(paths.images() if bucket == TRAINING else paths.queries(bucket)))
            tensors, n = read(at(paths.features(method, bucket))), len(images["images"])
            assert (tensors["features"].dtype, tensors["features"].shape) == (np.float32, (n, DIM))
            assert (tensors["residuals"].dtype, tensors["residuals"].shape) == (np.float32, (n,))
            assert unpack_ids(tensors["ids"]) == unpack_ids(images["ids"])
            record = json.loads(at(paths.features_record(method, bucket)).read_text())
            assert record["evaluations"] == n * STEPS * 3


def test_scores_follow_from_the_features_and_the_recorded_damping(compared, at, paths):
    for method in METHODS:
        damping = json.loads(at(paths.scores_record(method)).read_text())["damping"]
        training = read(at(paths.features(method, TRAINING)))
        phi = training["features"].astype(np.float64)
        gram = phi.T @ phi
        inverse = np.linalg.inv(gram + damping * np.trace(gram) / DIM * np.eye(DIM))
        frame = pd.read_csv(at(paths.scores(method)))
        for bucket, ids in compared.experiment.buckets.items():
            each = read(at(paths.features(method, bucket)))["features"] @ inverse @ phi.T
            if method == "das":
                each = (each * training["residuals"]) ** 2
            for group in compared.experiment.groups:
                members = read_members(at(paths.group(group)), compared.experiment.group_spec(group).digest())
                rows = [row for row, name in enumerate(unpack_ids(training["ids"])) if name in members]
                found = frame[frame["group"] == group].set_index("query").loc[ids, "score"]
                np.testing.assert_allclose(found, each[:, rows].sum(1), rtol=1e-6, atol=1e-9 * np.abs(each).max())


def test_features_are_counted_as_built_and_as_the_queries(compared, at, paths):
    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    n_training = len(compared.experiment.dataset.table)
    for method in METHODS:
        assert frame.loc[method, "build_evaluations"] == n_training * STEPS * 3
        assert frame.loc[method, "query_evaluations"] == len(compared.experiment.queries) * STEPS * 3
