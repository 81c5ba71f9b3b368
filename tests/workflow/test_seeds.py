"""Several seeds of unlearning through the real snakemake: what they make, and how far their runs agree."""

import pandas as pd
from harness import Workflow

SEEDS = "unlearn: {seeds: [0, 7]}"


def test_seeds_are_averaged_and_compared_and_leave_the_first_ones_models(workflow: Workflow, tmp_path):
    run = workflow.copied(tmp_path / "run")
    paths, old = run.experiment.paths, {}
    for file in (run.results / "models").rglob("*.safetensors"):
        old[file] = file.stat().st_mtime_ns
    before = pd.read_csv(run.directory / paths.scores("guda"))
    done = run.snakemake("--cores", "2", paths.reliability(), paths.metrics(), overlays=(SEEDS,))
    assert done.returncode == 0, done.stderr
    assert {file: file.stat().st_mtime_ns for file in old} == old

    after = pd.read_csv(run.directory / paths.scores("guda"))
    assert (after[["query", "group"]] == before[["query", "group"]]).all(axis=None)
    assert (after["score"] != before["score"]).all()
    ranked = pd.read_csv(run.directory / paths.rankings())
    summed = ranked[ranked["method"] == "guda"].groupby("query")[["p_top1", "p_top1_scoring"]].sum()
    assert ((summed - 1).abs() < 1e-9).all(axis=None)
    table = pd.read_csv(run.directory / paths.reliability())
    counted = table.groupby(["method", "probability"])["n_places"].sum()
    n_places = 2 * run.experiment.config.queries.count
    assert counted.to_dict() == {
        ("guda", "p_top1"): n_places,
        ("guda", "p_top1_scoring"): n_places,
        ("guda_uncalibrated", "p_top1_scoring"): n_places,
    }
    assert table[["p", "agrees_with_run", "agrees_with_oracle"]].stack().between(0, 1).all()
    cost = pd.read_csv(run.directory / paths.metrics()).set_index("method")["build_evaluations"]
    first = pd.read_csv(workflow.directory / paths.metrics()).set_index("method")["build_evaluations"]
    assert first["guda_uncalibrated"] < cost["guda_uncalibrated"] <= 2 * first["guda_uncalibrated"]
    assert {file.split("/")[0] for file in run.planned(SEEDS)}.isdisjoint(
        {"models", "elbo", "scores", "reliability.csv"}
    )
