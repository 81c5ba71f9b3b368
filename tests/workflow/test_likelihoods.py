"""Likelihoods by the probability-flow ODE, through the real snakemake: asked for after a run, and then left alone."""

import numpy as np
import pandas as pd
from harness import merged

from guda.config.file import read_yaml
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.paths import BASE
from guda.core.records import read_record
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.reports import likelihood_spec

OVERLAY = "likelihood: {queries: 4, steps: 2, probes: 3}"
MODELS = [BASE, "logo-1/amber", "logo-1/cedar", "guda/amber", "guda/cedar"]


def test_likelihoods_are_made_for_some_queries_and_compared_with_the_scores(workflow, tmp_path, monkeypatch):
    run = workflow.copied(tmp_path / "run")
    done = run.snakemake("--cores", "2", overlays=(OVERLAY,))
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(run.directory)
    values = merged(read_yaml("config.yaml"), read_yaml("tiny.yaml"))
    experiment = Experiment(load_config(merged(values, read_yaml("overlay-0.yaml"))))
    paths, found = experiment.paths, {}
    for model in MODELS:
        tensors, _ = load_tensors(paths.likelihood(model), likelihood_spec(experiment, model).digest(), "np")
        assert set(unpack_ids(tensors["ids"])) < set(experiment.queries)
        found[model] = tensors["log_likelihood"]
        assert found[model].shape == (4, 3)
        assert np.isfinite(found[model]).all()
        record = read_record(run.directory / paths.likelihood(model).replace(".safetensors", ".record.json"))
        assert record["evaluations"] == 4 * 2 * 4 * (1 + 2 * 3)
    assert len({values.tobytes() for values in found.values()}) == len(MODELS)

    table = pd.read_csv(paths.likelihood_table())
    assert list(table["method"]) == ["logo", "guda_uncalibrated"]
    assert (table["n_queries"] == 4).all()
    assert (table["n_pairs"] == 8).all()
    assert table[["pearson", "spearman"]].abs().le(1).all(axis=None)
    assert table["probe_se"].gt(0).all()

    # Other noise of the bounds makes the comparison again, and no likelihood.
    assert run.planned(OVERLAY) == set()
    planned = run.planned(f"{OVERLAY}\nelbo: {{seed: 7}}")
    assert "likelihood.csv" in planned
    assert not any(file.startswith("likelihood/") for file in planned)
