"""Bounds beside likelihoods, by numbers worked out by hand; and files that do not belong together."""

import math
import re

import numpy as np
import pytest
import torch

from guda import config
from guda.core.artifacts import pack_ids, save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import BASE, Paths
from guda.evaluation.likelihood_table import likelihood_differences, likelihood_row, pearson, spearman
from guda.specs import LikelihoodSettings, LikelihoodSpec

BOUNDS = np.array([[1.0, 2], [3, 4], [6, 5]])
SETTINGS = LikelihoodSettings(noise_schedule=config.NoiseSchedule(), queries=2, first=0, steps=1, probes=2, seed=0)


def test_correlations_by_hand():
    # Centered (-1, 0, 1) and (-1, 1, 0): 1 / 2.
    assert pearson(np.array([[1.0, 2, 3]]), np.array([[4.0, 6, 5]])) == pytest.approx(0.5)
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 * 2 / (4 * 15).
    assert spearman(np.array([[1.0, 2], [30, 400]]), np.array([[-5.0, 7], [6, 8]])) == pytest.approx(0.8)
    assert pearson(np.ones((2, 2)), BOUNDS[:2]) == 0


def test_a_row_by_hand():
    # Probes at -+1 and -+3 around the bounds: standard errors sqrt(2) / sqrt(2) = 1 and 3, of half the pairs each.
    offsets = np.array([1.0, 3]).reshape(1, 2, 1) * np.array([-1.0, 1])
    row = likelihood_row(BOUNDS, BOUNDS[:, :, None] + offsets, n_bootstrap=50, seed=0)
    assert row["probe_se"] == pytest.approx(math.sqrt((1 + 9) / 2))
    ones = [
        "pearson",
        "spearman",
        "top1",
        *(f"{name}_{bound}" for name in ("pearson", "top1") for bound in ("low", "high")),
    ]
    assert [row[name] for name in ones] == pytest.approx([1] * len(ones))
    assert (row["n_queries"], row["n_pairs"]) == (3, 6)


def test_disagreement_shows():
    estimates = np.array([[2.0, 1], [3, 4], [6, 5]])[:, :, None]  # the first query's groups swapped; one probe
    row = likelihood_row(BOUNDS, estimates, n_bootstrap=400, seed=0)
    assert row["top1"] == pytest.approx(2 / 3)
    # Ranks 1 2 3 4 6 5 against 2 1 3 4 6 5: 1 - 6 * 2 / (6 * 35).
    assert row["spearman"] == pytest.approx(1 - 12 / 210)
    assert row["pearson"] == pytest.approx(1 - 12 / 210)
    # A resample may be the first query three times: -1.
    assert row["spearman_low"] == -1
    assert row["spearman_high"] == pytest.approx(1)
    assert math.isnan(row["probe_se"])


def save(paths, model, values, ids=("q0", "q1"), **metadata):
    spec = LikelihoodSpec(model=model, buckets={}, settings=SETTINGS)
    tensors = {"log_likelihood": torch.tensor(values, dtype=torch.float64), "ids": pack_ids(list(ids))}
    save_tensors(paths.likelihood(model), tensors, spec, **({"model_sha256": model} | metadata))
    return spec.digest()


@pytest.fixture
def saved(tmp_path):
    """Paths, and digests of the base model and of two without a group."""
    paths = Paths(tmp_path)
    digests = {
        BASE: save(paths, BASE, [[5.0, 6], [7, 8]]),
        "logo-1/a": save(paths, "logo-1/a", [[1.0, 1], [2, 2]], parent_sha256=""),
        "guda/b": save(paths, "guda/b", [[5.0, 5], [8, 8]], parent_sha256=BASE),
    }
    return paths, digests


def test_differences_are_full_less_without(saved):
    ids, found = likelihood_differences(saved[0], {"a": "logo-1/a", "b": "guda/b"}, saved[1])
    assert ids == ["q0", "q1"]
    assert found.tolist() == [[[4, 5], [0, 1]], [[5, 6], [-1, 0]]]


@pytest.mark.parametrize("harm", [{"ids": ("q0", "q2")}, {"parent_sha256": "another"}])
def test_files_that_do_not_belong_together_are_refused(saved, harm):
    paths, digests = saved
    save(paths, "guda/b", [[5.0, 5], [8, 8]], **harm)
    with pytest.raises(ArtifactError, match=re.escape(paths.likelihood("guda/b"))):
        likelihood_differences(paths, {"b": "guda/b"}, digests)


def test_likelihoods_of_another_configuration_are_refused(saved):
    paths, digests = saved
    with pytest.raises(ArtifactError, match=re.escape(paths.likelihood("guda/b"))):
        likelihood_differences(paths, {"b": "guda/b"}, digests | {"guda/b": "0" * 20})
