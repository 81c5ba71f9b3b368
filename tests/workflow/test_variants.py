"""Variants through the real snakemake: their table, and what one more of them costs."""

import pandas as pd
from harness import Workflow

SWEEP = "sweep: {{unlearn: [{{steps: {}}}], nearest: [{{top_k: 2, aggregate: mean}}]}}"


def test_a_sweep_measures_variants_and_one_more_makes_its_own_files_only(workflow: Workflow, tmp_path):
    run = workflow.copied(tmp_path / "run")
    paths = run.experiment.paths
    done = run.snakemake("--cores", "2", paths.sweep(), paths.sweep_figure(), overlays=(SWEEP.format(2),))
    assert done.returncode == 0, done.stderr

    table = pd.read_csv(run.directory / paths.sweep()).set_index(["variant", "oracle"])
    variants = ["guda", "guda@steps=2", "nearest", "nearest@aggregate=mean,top_k=2", "ceiling"]
    assert set(table.index) == {(name, f"logo-{seed}") for name in variants for seed in (1, 2)}
    metrics = pd.read_csv(run.directory / paths.metrics()).set_index("method")
    shared = metrics.loc[:, "n_queries":"build_seconds"].columns
    for name in ("guda", "nearest", "ceiling"):
        found = table.loc[(name, "logo-1"), shared].astype(float)
        pd.testing.assert_series_equal(found, metrics.loc[name, shared].astype(float), check_names=False)
    assert table[table["chosen"]]["method"].value_counts().to_dict() == {"guda": 2, "nearest": 2}
    assert (run.directory / paths.sweep_figure()).stat().st_size > 10_000

    planned = run.planned(SWEEP.format("[2, 4]"))
    own = {file for file in planned if "steps=4" in file}
    assert planned - own == {"sweep.csv", "sweep.record.json", "figures/sweep.png", "figures/sweep.record.json"}
    assert any(file.startswith("models/sweep-steps=4/amber/") for file in own)
    assert not any("steps=2" in file for file in planned)
