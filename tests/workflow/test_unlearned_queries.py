"""Methods that unlearn each query: what a run leaves behind when `methods` names them, and only then."""

import numpy as np
import pandas as pd
import pytest
import yaml
from harness import Workflow

from guda.core.artifacts import load_tensors, read_json, sha256_file, unpack_ids
from guda.core.paths import BASE

SETTINGS = {
    "methods": ["abu", "mucs"],
    "attribution": {
        "abu": {"train_sample": 20, "loss_steps": 2, "query_steps": 3, "fisher": {"images": 4, "steps": 2}},
        "mucs": {"train_sample": 30, "loss_steps": 2, "steps": 2, "batch_size": 4},
    },
}
GROUPS = ["amber", "cedar"]


@pytest.fixture(scope="module")
def run(workflow, tmp_path_factory) -> Workflow:
    """The first run with these methods: only what they need beside it is made."""
    copy = workflow.copied(tmp_path_factory.mktemp("query-unlearning") / "run")
    done = copy.snakemake("--cores", "2", overlays=(yaml.dump(SETTINGS),))
    assert done.returncode == 0, done.stderr
    return copy


@pytest.fixture(scope="module")
def paths(run):
    return run.experiment.paths


def test_influence_files_are_as_promised(run, paths):
    base = sha256_file(run.directory / paths.model_weights(BASE))
    table = pd.read_csv(run.directory / paths.table(), dtype=str)
    for method in SETTINGS["methods"]:
        for bucket, queries in run.experiment.buckets.items():
            tensors, metadata = load_tensors(run.directory / paths.influence(method, bucket), framework="np")
            train_ids, count = unpack_ids(tensors["train_ids"]), SETTINGS["attribution"][method]["train_sample"]
            assert unpack_ids(tensors["ids"]) == queries
            assert len(train_ids) == len(set(train_ids)) == count
            assert set(train_ids) <= set(table["id"])
            assert (tensors["scores"].dtype, tensors["scores"].shape) == (np.float32, (len(queries), count))
            assert tensors["scores"].std(1).min() > 0
            assert metadata["model_sha256"] == base


def test_the_fisher_information_has_the_weights_names_and_shapes(run, paths):
    fisher, _ = load_tensors(run.directory / paths.fisher(), framework="np")
    weights, _ = load_tensors(run.directory / paths.model_weights(BASE), framework="np")
    assert {name: values.shape for name, values in fisher.items()} == {
        name: values.shape for name, values in weights.items()
    }
    assert all((values >= 0).all() for values in fisher.values())


def test_groups_have_the_mean_of_the_largest_influences(run, paths):
    members = [set(read_json(run.directory / paths.group(group))["members"]) for group in GROUPS]
    for method in SETTINGS["methods"]:
        frame = pd.read_csv(run.directory / paths.scores(method)).pivot(index="query", columns="group", values="score")
        for bucket, queries in run.experiment.buckets.items():
            tensors, _ = load_tensors(run.directory / paths.influence(method, bucket), framework="np")
            train_ids = unpack_ids(tensors["train_ids"])
            for column, group in enumerate(GROUPS):
                rows = [row for row, train_id in enumerate(train_ids) if train_id in members[column]]
                largest = np.sort(tensors["scores"][:, rows].astype(np.float64))[:, -15:]
                np.testing.assert_allclose(frame.loc[queries, group], largest.mean(1), rtol=1e-9)


def test_evaluations_are_what_one_counts_by_hand(run, paths):
    """A gradient counts 3. Each bucket's job asks the base model once, and an unlearned model per query."""
    frame = pd.read_csv(run.directory / paths.metrics()).set_index("method")
    n_queries, n_buckets = len(run.experiment.queries), len(run.experiment.buckets)
    assert frame.loc["abu", "build_evaluations"] == 4 * 2 * 3
    assert frame.loc["abu", "query_evaluations"] == (n_queries + n_buckets) * 20 * 2 + n_queries * 3 * 3
    assert frame.loc["mucs", "build_evaluations"] == 0
    assert frame.loc["mucs", "query_evaluations"] == (n_queries + n_buckets) * 30 * 2 + n_queries * 2 * (4 + 4) * 3


def test_another_aggregation_unlearns_nothing_again(run):
    assert not any(run.plan(yaml.dump(SETTINGS)).values())
    aggregated = SETTINGS | {"attribution": {**SETTINGS["attribution"], "mucs": {
        **SETTINGS["attribution"]["mucs"], "aggregate": "mean"}}}  # fmt: skip
    stale = {file.split(".")[0] for file, stale in run.plan(yaml.dump(aggregated)).items() if stale}
    tables = {"rankings", "metrics", "metrics_by_source", "significance", "figures/cost", "figures/queries", "report"}
    assert stale == {"scores/mucs"} | tables


def test_a_run_that_names_neither_makes_none_of_their_files(workflow):
    assert not {"fisher", "influence"} & {path.name for path in workflow.results.iterdir()}
