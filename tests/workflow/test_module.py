"""The workflow from another folder, and as a module of another workflow."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from harness import ROOT

from guda.config.file import read_yaml

MODULES = """
module first:
    snakefile: {snakefile!r}
    config: {config!r} | {{"data": {{"groups": ["birch", "cedar"]}}}}

use rule * from first as first_*

module second:
    snakefile: {snakefile!r}
    config: {config!r} | {second!r}
    prefix: "under"

use rule * from second as second_*

rule mine:
    default_target: True
    input: "results/tiny/data/groups.csv", "under/results/tiny/data/groups.csv"
    output: "mine.txt"
    shell: "cat {{input}} > {{output}}"
"""
PLAN = ("--dry-run", "--quiet", "rules")


def planned(run):
    """How many jobs of each rule a plan has."""
    rows = re.findall(r"^(\w+) +(\d+)$", run.stdout, flags=re.MULTILINE)
    assert rows, run.stdout + run.stderr
    return {rule: int(count) for rule, count in rows}


@pytest.fixture
def run_in(tmp_path, workflow):
    """Runs snakemake in an empty folder, with a Snakefile of two modules when there are `settings` for the second."""

    def run(*arguments, **settings):
        if settings:
            config = read_yaml(workflow.directory / "tiny.yaml")
            text = MODULES.format(snakefile=str(ROOT / "Snakefile"), config=config, second=settings)
            (tmp_path / "Snakefile").write_text(text)
        environment = workflow.command()[1]["env"]
        command = [sys.executable, "-m", "snakemake", "--nocolor", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_workflow_plans_and_unlocks_from_any_folder(run_in, tmp_path):
    here = ("--snakefile", ROOT / "Snakefile")
    plan = run_in(*here, "results/metrics.csv", *PLAN)
    assert plan.returncode == 0, plan.stderr
    assert planned(plan)["train_logo"] == 12  # six providers, two seeds
    (tmp_path / "inner").mkdir()
    elsewhere = run_in(*here, "--directory", "inner", "results/metrics.csv", *PLAN)
    assert elsewhere.returncode == 0, elsewhere.stderr
    unlocked = run_in(*here, "--unlock")
    assert unlocked.returncode == 0, unlocked.stderr


def test_two_modules_in_one_workflow_have_each_its_own_settings_and_files(run_in, tmp_path):
    done = run_in("--cores", "1", data={"groups": ["amber", "cedar"]})
    assert done.returncode == 0, done.stderr
    groups = {folder: pd.read_csv(tmp_path / folder / "results/tiny/data/groups.csv") for folder in (".", "under")}
    assert list(groups["."]["group"]) == ["birch", "cedar"]
    assert list(groups["under"]["group"]) == ["amber", "cedar"]
    assert "Nothing to be done" in run_in("--dry-run").stdout


def test_a_module_under_a_prefix_knows_the_results_that_lie_there(run_in, tmp_path, workflow):
    shutil.copytree(workflow.results.parent, tmp_path / "under" / "results")
    target = "under/results/tiny/metrics.csv"
    same = {"data": {"groups": ["amber", "cedar"]}}
    assert "Nothing to be done" in run_in("--dry-run", target, **same).stdout
    other = planned(run_in(target, *PLAN, **same, elbo={"seed": 7, "steps": {"count": 4}}))
    assert other["second_elbo"] == 17
    assert "second_train_base" not in other
    removal = planned(run_in("under/results/tiny/removal.csv", *PLAN, **same, removal={"queries": 1, "groups": [1]}))
    assert removal["second_removal_sets"] == 1
