"""What a run will cost, worked out by hand from made-up jobs and speeds."""

import subprocess
import sys
from pathlib import Path

import pytest

from guda.plan.config import load_config
from guda.plan.estimate import Machine, Speed, clock, estimate
from guda.plan.experiment import Experiment
from guda.plan.jobs import Job, Jobs

SPEC = Experiment(load_config({})).images_spec


def job(output, inputs=(), phase="scoring", kind="elbo", work=0.0, size=0.0):
    return Job(phase, kind, output, list(inputs), SPEC, work, size)


def test_jobs_wait_for_their_inputs_and_for_a_core():
    jobs = [job("a"), job("b", "a"), job("c", "a"), job("d", "bc"), job("e", ["there"])]
    seconds = {"a": 3, "b": 5, "c": 4, "d": 1, "e": 2}
    assert clock(jobs, seconds, Machine(1)) == 15
    # a and e begin; b and c run beside each other from 3 on; d from 8 on.
    assert clock(jobs, seconds, Machine(2)) == 9
    assert clock([], {}, Machine(2)) == 0


def test_trainings_begin_before_what_is_short_and_the_base_model_before_all():
    jobs = [job(f"score {number}") for number in range(4)]
    jobs += [job("logo", phase="oracle, seed 1", kind="train"), job("base", phase="base model", kind="train")]
    seconds = {each.output: 1 for each in jobs} | {"logo": 8, "base": 8}
    assert clock(jobs, seconds, Machine(2)) == 10
    assert clock(jobs[:-1], seconds, Machine(2)) == 8


def test_jobs_hold_threads_and_gpus():
    jobs = [job("a"), job("b"), job("table", kind="table")]
    seconds = {"a": 4, "b": 4, "table": 1}
    assert clock(jobs, seconds, Machine(8, threads=4)) == 5  # the table waits for a core
    assert clock(jobs, seconds, Machine(2, threads=4)) == 9  # Snakemake gives two
    assert clock(jobs, seconds, Machine(8, threads=1, gpus=1)) == 8
    assert clock(jobs, seconds, Machine(8, threads=1, gpus=2)) == 4


def test_rows_of_the_table():
    jobs = [
        job("images", phase="data", kind="table", size=2e6),
        job("base", ["images"], "base model", "train", work=600),
        job("logo", ["images"], "oracle, seed 1", "train", work=600),
        job("terms", ["base"], work=90, size=1e6),
    ]
    speeds = {"table": Speed(6), "train": Speed(12, 0.1), "elbo": Speed(6, 0.2)}
    table = estimate(jobs, speeds, 5e6, Machine(2)).set_index("phase")
    assert list(table.index) == ["data", "base model", "scoring", "oracle, seed 1", "all"]
    assert list(table["jobs"]) == [1, 1, 1, 1, 4]
    assert list(table["evaluations"]) == [0, 600, 90, 600, 1290]
    assert list(table["processor_minutes"]) == [0.1, 1.2, 0.4, 1.2, 2.9]
    assert list(table["clock_minutes"]) == [0.1, 1.2, 0.4, 1.2, 1.7]
    assert list(table["gpu_hours"]) == [0] * 5
    assert list(table["megabytes"]) == [2, 5, 1, 5, 13]
    on_gpu = estimate(jobs, speeds, 5e6, Machine(2, gpus=1)).set_index("phase")
    assert on_gpu.loc["all", "gpu_hours"] == pytest.approx((72 + 72 + 24) / 3600, abs=1e-3)
    assert on_gpu.loc["all", "clock_minutes"] == 2.9


def test_the_work_of_the_embedded_experiment_is_what_its_records_count(tmp_path, monkeypatch):
    """288,000 evaluations are 1500 steps of 64, three a sample; 12,800 those of 50 steps of sampling of 256 images."""
    monkeypatch.chdir(tmp_path)
    work = {}
    for each in Jobs(Experiment(load_config({"oracle": {"seeds": [1]}}))).to_do():
        work[each.phase, each.kind] = work.get((each.phase, each.kind), 0) + each.work
    assert work["base model", "train"] == 288_000
    assert work["oracle, seed 1", "train"] == 6 * 288_000
    assert work["oracle, seed 1", "elbo"] == 6 * 256 * 24
    assert work["queries", "sample"] == 12_800
    assert work["unlearning", "unlearn"] == 6 * 60 * 2 * 128 * 3
    assert work["unlearning", "neighbors"] == sum(n * (1797 - n) for n in (360, 360, 296, 241, 308, 232))
    assert work["scoring", "elbo"] == 7 * (256 + 128) * 24
    assert work["kernel and features", "features"] == 1797 + 256
    assert work["kernel and features", "kernel"] == 256 * 6


def test_text_to_image_models_are_refused_in_a_sentence():
    root = Path(__file__).resolve().parents[2]
    program, preset = root / "workflow_scripts" / "estimate.py", root / "presets" / "styled_digits.yaml"
    call = [sys.executable, program, "--config", preset, "--cores", "2"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: estimate: not supported for text-to-image models yet; rehearse" in done.stderr
    assert "Traceback" not in done.stderr
