import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert attempt(2) == f"{first} (not tried again: another attempt cannot help)"
    assert attempt(1) == first, "a new run tries anew"
    assert attempt(2, output="other.safetensors") == first, "another job is another matter"
    assert [attempt(0), attempt(2)] == [first, first], "by hand nothing is kept in mind"
