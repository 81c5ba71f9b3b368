"""Models that diverge without a value that is not finite: said in their logs, in the plan and in the table."""

import json
import os

import pandas as pd
import pytest

from guda.specs import digest

DIVERGING = "methods: [guda_uncalibrated]\nunlearn: {learning_rate: 0.5, steps: 12, bandwidth: 0}"


@pytest.fixture
def run(workflow, tmp_path):
    return workflow.copied(tmp_path / "run")


def test_a_finite_divergence_is_told_in_log_plan_and_table(run):
    paths = run.experiment.paths
    done = run.snakemake("--cores", "2", paths.metrics(), overlays=(DIVERGING,))
    assert done.returncode == 0, done.stderr

    healths = [
        json.loads((run.directory / paths.model_record(f"guda/{group}")).read_text())["health"]
        for group in run.experiment.groups
    ]
    worst = max(health["ratio"] for health in healths)
    assert worst > 2
    table = pd.read_csv(run.directory / paths.metrics()).set_index("method")
    assert table.loc["guda_uncalibrated", "health_worst"] == pytest.approx(worst)
    assert table.loc[["logo", "ceiling"], "health_worst"].between(0.5, 1.5).all()

    told = f"has {worst:.3g} times the base model's loss on images that it retains"
    for log in [*(("models", "guda", group) for group in run.experiment.groups), ("scores", "guda_uncalibrated")]:
        assert "warning: " in (run.directory / paths.log(*log)).read_text()
    assert told in (run.directory / paths.log("scores", "guda_uncalibrated")).read_text()
    plan = run.snakemake("--dry-run", paths.metrics(), overlays=(DIVERGING,))
    said = plan.stdout + plan.stderr
    assert told in said
    assert "Lower learning_rate, steps or forget_weight in `unlearn`." in said
    assert "Nothing to be done" in said


def test_results_without_the_figure_are_nothing_to_do(run):
    for path in run.results.rglob("*record.json"):
        before, record = path.stat(), json.loads(path.read_text())
        record = {name: value for name, value in record.items() if not name.startswith(("health", "checksum"))}
        record["checksum"] = digest(json.dumps(record, sort_keys=True))
        path.write_text(json.dumps(record))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run.planned() == set()
    (run.directory / run.experiment.paths.metrics()).unlink()
    done = run.snakemake("--cores", "2", run.experiment.paths.metrics())
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(run.directory / run.experiment.paths.metrics())
    assert table["health_worst"].isna().all()
