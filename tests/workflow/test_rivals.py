"""Methods of one network for all groups: what a run leaves behind when `methods` names them, and only then."""

import json

import numpy as np
import pandas as pd
import pytest
from harness import RIVALS

from guda.core.artifacts import load_tensors
from guda.core.paths import BASE, CLASSIFIER, CONDITIONAL, conditioned_model
from guda.core.records import read_record
from guda.models.noise_schedule import step_weights

GROUPS = ["amber", "cedar"]


@pytest.fixture(scope="module")
def at(rivals):
    """Path builder of the run's files, from the working directory's root."""
    return lambda path: rivals.directory / path


@pytest.fixture(scope="module")
def paths(rivals):
    return rivals.experiment.paths


def terms(path):
    """Likelihood terms of a file, weighted: they add up to minus the bound."""
    tensors, _ = load_tensors(path, framework="np")
    return tensors["kl"].astype(np.float64) * tensors["step_weights"]


def scores_of(at, paths, bucket_ids, method):
    frame = pd.read_csv(at(paths.scores(method)))
    return frame.pivot(index="query", columns="group", values="score").loc[bucket_ids, GROUPS].to_numpy()


def test_every_method_has_its_row(at, paths):
    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    assert list(frame.index) == ["logo", *RIVALS, "constant", "ceiling"]
    assert frame["top1"].between(0, 1).all()


def test_the_conditional_network_opens_in_diffusers_with_a_label_more_than_groups(at, paths):
    from diffusers import UNet2DModel

    unet = UNet2DModel.from_pretrained(at(paths.model_config(CONDITIONAL)).parent)
    assert unet.config.num_class_embeds == len(GROUPS) + 1


def test_conditional_scores_are_differences_of_the_bounds(rivals, at, paths):
    changed = np.zeros(len(GROUPS), dtype=bool)
    for bucket, ids in rivals.experiment.buckets.items():
        untold = terms(at(paths.elbo(CONDITIONAL, bucket))).sum(1)
        told = [terms(at(paths.elbo(conditioned_model(group), bucket))).sum(1) for group in GROUPS]
        expected = np.stack([untold - bound for bound in told], axis=1)
        np.testing.assert_allclose(scores_of(at, paths, ids, "conditional_elbo"), expected, rtol=1e-9, atol=1e-9)
        changed |= (expected != 0).any(axis=0)
    # Each group that is told changes bounds, after twelve steps by so little that float32 rounds a few changes to
    # nothing; which of them depends on the processor.
    assert changed.all()


def test_classifier_scores_are_mean_probabilities(rivals, at, paths):
    for bucket, ids in rivals.experiment.buckets.items():
        tensors, metadata = load_tensors(at(paths.posteriors(bucket)), framework="np")
        assert json.loads(metadata["groups"]) == GROUPS
        assert tensors["posteriors"].shape == (len(ids), len(rivals.experiment.elbo_settings.steps), len(GROUPS))
        found = scores_of(at, paths, ids, "classifier")
        np.testing.assert_allclose(found, tensors["posteriors"].mean(1), rtol=1e-5)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_kernel_scores_are_sums_over_its_own_steps(rivals, at, paths):
    for bucket, ids in rivals.experiment.buckets.items():
        found = scores_of(at, paths, ids, "kernel")
        np.testing.assert_allclose(found, terms(at(paths.kernel(bucket))).sum(2), rtol=1e-9, atol=1e-9)
        record = read_record(at(paths.kernel_record(bucket)))
        assert record["evaluations"] == len(ids) * rivals.experiment.config.attribution.kernel.steps
        assert record["variance"] > 0 < record["temperature"]


def test_features_of_training_images_count_as_built_and_a_step_of_a_query_once_for_all_groups(rivals, at, paths):
    settings, n_images = rivals.experiment.config, len(rivals.experiment.dataset.table)
    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    per_query = settings.attribution.kernel.steps + 1
    costs = frame.loc["kernel", ["build_evaluations", "query_evaluations"]].tolist()
    assert costs == [n_images, settings.queries.count * per_query]


def test_the_ensemble_is_of_members_that_the_tables_need_not_name(rivals, at, paths):
    ids = rivals.experiment.queries
    guda, kernel, found = (scores_of(at, paths, ids, name) for name in ("guda", "kernel", "ensemble"))
    contrasts = [each - each.mean(1, keepdims=True) for each in (guda, kernel)]
    first, second = (each / np.sqrt((each**2).mean()) for each in contrasts)
    size = np.sqrt((contrasts[0] ** 2).mean()) / 1.5
    np.testing.assert_allclose(found, guda.mean(1, keepdims=True) + size * (first + 0.5 * second), rtol=1e-6, atol=1e-9)
    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    record = {name: read_record(at(paths.scores_record(name))) for name in ("guda", "kernel")}
    for kind in ("build_evaluations", "query_evaluations"):  # the two share none
        assert frame.loc["ensemble", kind] == sum(record[name][kind] for name in record)
    assert "guda" not in frame.index


def test_mixture_scores_are_weighted_differences_of_terms(rivals, at, paths):
    settings = rivals.experiment.elbo_settings
    weights = step_weights(np.array(settings.steps), settings.first, settings.last)
    for bucket, ids in rivals.experiment.buckets.items():
        tensors, metadata = load_tensors(at(paths.mixture(bucket)), framework="np")
        assert json.loads(metadata["groups"]) == GROUPS
        expected = np.tensordot(tensors["kl_differences"].astype(np.float64), weights, axes=(1, 0))
        np.testing.assert_allclose(scores_of(at, paths, ids, "mixture"), expected, rtol=1e-9, atol=1e-12)


def test_the_network_counts_as_built_and_the_queries_once_a_label(rivals, at, paths):
    settings = rivals.experiment.config
    train = settings.training.steps * settings.training.batch_size * 3
    terms_of_queries = settings.queries.count * len(rivals.experiment.elbo_settings.steps)
    frame = pd.read_csv(at(paths.metrics())).set_index("method")
    assert frame.loc["conditional_elbo", ["build_evaluations", "query_evaluations"]].tolist() == [
        train, (len(GROUPS) + 1) * terms_of_queries,
    ]  # fmt: skip
    assert frame.loc["classifier", ["build_evaluations", "query_evaluations"]].tolist() == [train, terms_of_queries]
    assert frame.loc["mixture", ["build_evaluations", "query_evaluations"]].tolist() == [
        2 * train, (len(GROUPS) + 1) * terms_of_queries,
    ]  # fmt: skip


def test_a_run_that_names_none_of_these_methods_makes_none_of_their_files(workflow):
    made = {path.name for path in (workflow.results / "models").iterdir()}
    assert made & {BASE, CONDITIONAL, CLASSIFIER} == {BASE}
