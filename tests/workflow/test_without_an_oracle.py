"""An experiment that retrains nothing, through the real snakemake."""

import json

import pandas as pd
import pytest
from harness import Workflow

NO_ORACLE = "oracle: {seeds: []}"


def test_rankings_and_figure_need_no_retraining_and_an_oracle_comes_later(workflow: Workflow, tmp_path):
    """Of a finished run the tables are made again, and nothing else; what compares with retraining is left out."""
    run = workflow.copied(tmp_path / "run")
    paths = run.experiment.paths
    page = {"report.html", "report.record.json"}
    page |= {f"report/{name}{end}" for name in ("maps", "redrawn") for end in (".safetensors", ".record.json")}
    tables = {"rankings.csv", "rankings.record.json", "figures/queries.png", "figures/queries.record.json", *page}
    assert run.planned(NO_ORACLE) == tables
    done = run.snakemake("--cores", "2", "all", overlays=(NO_ORACLE,))
    assert done.returncode == 0, done.stderr
    before = pd.read_csv(workflow.directory / paths.rankings())
    alone = pd.read_csv(run.directory / paths.rankings())
    methods = list(run.experiment.config.methods)
    assert list(alone["method"].unique()) == methods
    kept = before[before["method"].isin(methods)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, kept)
    spec = json.loads((run.results / "figures/queries.record.json").read_text())["spec"]
    assert json.loads(spec)["oracle"] == ""
    compared = {
        f"{name}.{end}" for name in ("metrics", "significance", "metrics_by_source") for end in ("csv", "record.json")
    }
    compared |= {"figures/cost.png", "figures/cost.record.json"}
    assert run.planned() == tables | compared


@pytest.mark.parametrize("target", ["metrics.csv", "significance", "metrics"])
def test_what_compares_with_retraining_is_refused_without_an_oracle(workflow: Workflow, target):
    word = workflow.experiment.paths.metrics() if target == "metrics.csv" else target
    done = workflow.snakemake("--dry-run", word, overlays=(NO_ORACLE,))
    said = done.stderr + done.stdout
    assert done.returncode != 0
    assert f"{word} is not made by this configuration: oracle.seeds is []" in said
    assert "Traceback" not in said


def test_a_table_in_another_folder_is_answered_with_its_own(workflow: Workflow):
    done = workflow.snakemake("--dry-run", "results/metrics.csv")
    said = done.stderr + done.stdout
    assert done.returncode != 0
    assert (
        "results/metrics.csv: the results of this configuration are in results/tiny; ask for results/tiny/metrics.csv"
        in said
    )
    assert "Traceback" not in said


@pytest.mark.parametrize("target", ["rankings", "report", "all"])
def test_answers_are_asked_for_by_name_and_retrain_nothing(workflow: Workflow, target):
    done = workflow.snakemake("--dry-run", "--forceall", target, overlays=(NO_ORACLE,))
    assert done.returncode == 0, done.stderr
    said = done.stderr + done.stdout
    assert "Unlearning group amber" in said
    assert "Retraining" not in said
