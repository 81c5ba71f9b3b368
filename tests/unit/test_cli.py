import os
import subprocess
import sys
from pathlib import Path

import pytest

from guda.config import Execution
from guda.core.errors import GudaError
from guda.jobs.cli import run_settings, stage_parser
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.plan.handover import exports

STAGES = Path(__file__).resolve().parents[2] / "workflow_scripts"


@pytest.fixture
def attempt(tmp_path):
    """Runs a stage in a folder with Snakemake's memory: choosing a calibration sample of images that are not there."""
    (tmp_path / ".snakemake").mkdir()
    spec = '{"stage":"calibration","version":1,"images":"x","count":2,"seed":0}'
    call = [sys.executable, STAGES / "sample_calibration.py", "--spec", spec, "--images", "no.safetensors", "--output"]

    def run(number, output="out.safetensors"):
        environment = os.environ | {"GUDA_ATTEMPT": str(number)}
        done = subprocess.run(
            [*call, output], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    return run


def test_what_the_user_has_to_mend_is_not_tried_again(attempt):
    first = attempt(1)
    assert first == "error: no.safetensors: no such file. Run snakemake to make it."
    assert attempt(2) == f"{first} (not retried: another attempt would fail the same way)"
    assert attempt(1) == first, "a new run tries anew"
    assert attempt(2, output="other.safetensors") == first, "another job is another matter"
    assert [attempt(0), attempt(2)] == [first, first], "by hand nothing is kept in mind"


def test_what_rules_hand_over_is_what_a_job_reads(tmp_path):
    """Through a shell, with the signs that it knows; threads and GPUs are resources of the rule."""
    execution = {"batch_size": 3, "micro_batch_size": 2, "deterministic": True, "threads": 5}
    script = tmp_path / "environment.sh"
    script.write_text(exports(Experiment(load_config({"execution": execution})), "scripts", "/a b/$HOME's"))
    call = ["bash", "-c", f'. "{script}" && printf %s "$GUDA_EXECUTION"']
    settings = run_settings(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert (settings.cache, settings.store) == ("/a b/$HOME's", "/a b/$HOME's/store")
    assert Execution(**settings.model_dump(exclude={"cache", "store"})) == Execution(**execution | {"threads": 1})


def test_by_hand_a_job_runs_by_the_defaults():
    args = stage_parser("", network=True).parse_args(["--spec", "{}"])
    assert Execution(**args.execution.model_dump(exclude={"cache", "store"})) == Execution()


@pytest.mark.parametrize(
    ("argument", "message"), [('{"batchsize": 3}', "batchsize: Extra"), ('{"gpus": 2}', "gpus: Input"), ("3", "Input")]
)
def test_settings_that_there_are_not_are_refused_by_name(argument, message):
    with pytest.raises(GudaError, match=f"--execution: invalid section `execution` \\({message}"):
        run_settings(argument)
