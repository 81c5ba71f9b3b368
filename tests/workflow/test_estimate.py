"""The cost of a run, before it: the jobs are Snakemake's own, and `snakemake estimate` measures them."""

import contextlib
import re
import shutil
from pathlib import PurePosixPath

import pandas as pd
import pytest
import yaml
from harness import RIVALS, ROOT, Workflow, job_of, merged, opened

from guda.config.file import read_yaml
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.jobs import Jobs

DIVIDED = {"conditions": {"amber": 'provider == "amber"', "cedar": 'provider != "amber"'}}
GRADIENTS = ["trak", "das", "abu", "mucs", "embedding", "finetune", "neggrad", "guda_erasediff", "guda_siss"]
OVERLAYS = {
    "as it is": {},
    "another unlearning": {"unlearn": {"overrides": {"amber": {"steps": 4}}}},
    "no oracle": {"oracle": {"seeds": []}, "queries": {"count": 7}},
    "another set of queries": {"queries": {"name": "more", "count": 4}, "methods": ["guda", "kernel"]},
    "exemplars": {"queries": {"name": "tuned", "source": "exemplars", "exemplars": {"count": 3}}, "methods": ["guda"]},
    "rivals": {"data": DIVIDED, "methods": RIVALS},
    "gradients and queries": {"methods": ["guda", *GRADIENTS], "oracle": {"seeds": [3], "own_base": True}},
    "what is beside agreement": {
        "lds": {"subsets": 2},
        "likelihood": {"queries": 3},
        "unlearn": {"seeds": [0, 1]},
        "screen": {"method": "guda", "groups": 2},
        "sweep": {"unlearn": [{"steps": [3, 4]}], "elbo_steps": [{"count": 2}], "nearest": [{"top_k": 2}]},
    },
}


def to_do(workflow: Workflow, overlay: dict) -> set[str]:
    """Names of the jobs that the experiment with an overlay has to do."""
    with contextlib.chdir(workflow.directory):
        values = merged(merged(read_yaml("config.yaml"), read_yaml("tiny.yaml")), overlay)
        experiment = Experiment(load_config(values))
        jobs = Jobs(experiment).to_do()
    results = experiment.config.results
    return {job_of(PurePosixPath(job.output).relative_to(results).as_posix()) for job in jobs}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_jobs_are_those_that_snakemake_would_run(workflow: Workflow, overlay):
    planned = workflow.planned(yaml.safe_dump(OVERLAYS[overlay]))
    assert to_do(workflow, OVERLAYS[overlay]) == {
        job_of(re.sub("images/.*png$", "queries.csv", file)) for file in planned
    }


def test_an_experiment_that_is_made_costs_nothing(workflow: Workflow):
    done = workflow.snakemake("--cores", "2", "estimate")
    assert done.returncode == 0, done.stderr
    assert "Everything is up to date; a run would do nothing." in done.stdout


def test_a_new_experiment_is_measured_and_not_begun(workflow: Workflow):
    overlay = "results: results/new\nmethods: [guda, kernel, nearest]"
    done = workflow.snakemake("--cores", "2", "estimate", overlays=(overlay,))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(workflow.directory / "results/new/estimate.csv").set_index("phase")
    assert {"base model", "queries", "unlearning", "scoring", "oracle, seed 1", "oracle, seed 2"} < set(table.index)
    assert table.loc["base model", "evaluations"] == 12 * 8 * 3
    assert table.loc["unlearning", "jobs"] == 4  # two groups, with the neighbors of each
    total = table.drop(index="all").sum()
    assert table.loc["all", "jobs"] == total["jobs"]
    assert table.loc["all", "processor_minutes"] == pytest.approx(total["processor_minutes"], abs=0.05)
    assert 0 < table.loc["all", "clock_minutes"] <= table.loc["all", "processor_minutes"]
    assert str(table.loc["all", "processor_minutes"]) in done.stdout
    assert {path.name for path in (workflow.directory / "results/new").iterdir()} == {"estimate.csv", "logs"}


def test_text_to_image_is_refused_with_its_reason_alone(tmp_path):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    shutil.copy(ROOT / "presets" / "styled_digits.yaml", tmp_path / "tiny.yaml")
    done = opened(tmp_path).snakemake("--cores", "1", "estimate")
    assert done.returncode != 0
    (failure,) = re.findall(r"^Measuring what a run will cost: (.*)$", done.stderr, re.MULTILINE)
    assert failure.startswith("error: estimate: not supported for text-to-image models yet; rehearse with")
