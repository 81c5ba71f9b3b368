"""The same DAG on a real Slurm: the same rankings to the bit, and jobs that are cancelled, too slow or orphaned."""

import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import psutil
import pytest
from cluster import cluster, devices_of_jobs, why_not
from harness import ROOT

from guda.core.artifacts import sha256_file
from guda.core.paths import BASE, logo_model

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

PROFILE = ["--profile", str(ROOT / "profiles" / "slurm"), "--slurm-init-seconds-before-status-checks", "3"]
ARRAYS = ["--slurm-array-jobs", "elbo"]
SECONDS = 400  # that anything may take
LOGO = logo_model("1", "amber")


@pytest.fixture(scope="module")
def slurm():
    """The environment of a running Slurm's commands."""
    with cluster() as environment:
        yield environment


@pytest.fixture(scope="module")
def runs(slurm, small, tmp_path_factory):
    """The workflow run here, the same run on the cluster with graphics cards for the base model, and what that said.

    It is a small one, since a job costs seconds on the cluster whatever it does.
    """
    directory = tmp_path_factory.mktemp("cluster")
    for name in ("config.yaml", "tiny.yaml"):
        shutil.copy(small.directory / name, directory)
    there = replace(small, directory=directory, environment=slurm, cold=True)
    return (
        small,
        there,
        said(
            start(
                there,
                small.experiment.paths.rankings(),
                *ARRAYS,
                "--set-resources",
                "train_base:gpu=1",
                "--retries",
                "0",
            )
        ),
    )


def start(run, *arguments):
    """Snakemake on the cluster, as a process."""
    command, settings = run.command(*PROFILE, *arguments)
    return subprocess.Popen(command, **settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def said(process, returncode=0):
    """What a process wrote until its end, which must come in time."""
    try:
        _, text = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == returncode, text
    return text


def wait_for(found, what):
    """The first thing that `found` gives and that is true."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.2)
    raise TimeoutError(what)


def slurm_job(environment, rule):
    """Number of a running job of the rule, or None; Snakemake writes the rule into the comment."""
    command = ["squeue", "--noheader", "--states=running", "--format=%A %k"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True).stdout
    return next((line.split()[0] for line in listed.splitlines() if f"rule_{rule}" in line), None)


def training(run, model):
    """The running training program of a model, or None."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        of_model = words[-1:] and words[-1].endswith(f"models/{model}")
        if of_model and words[1].endswith("train.py") and process.info["cwd"] == str(run.directory):
            return process
    return None


def without_models(run, directory):
    """A copy of the finished run whose base and LOGO models have yet to be made."""
    run = run.copied(directory)
    for model in (BASE, LOGO):
        shutil.rmtree((run.directory / run.experiment.paths.model_weights(model)).parent)
    return run


def test_rankings_are_the_local_ones_to_the_bit(runs):
    here, there, _ = runs
    file = here.experiment.paths.rankings()
    assert (here.directory / file).read_bytes() == (there.directory / file).read_bytes()


@pytest.mark.parametrize("profile", [[], PROFILE], ids=["here", "on the cluster"])
def test_nothing_is_left_to_do(runs, profile):
    """What one has made the other takes over, since resources and where a job ran make nothing stale."""
    planned = runs[1].snakemake("--dry-run", *profile, runs[1].experiment.paths.rankings())
    assert "Nothing to be done" in planned.stdout + planned.stderr


def test_who_asks_for_a_graphics_card_sees_one_and_nobody_else(runs, slurm):
    jobs = re.findall(r"SLURM jobid (\d+) \(log: \S*/rule_(\w+)/", runs[2])
    arrays = re.findall(r"Submitted array job .* SLURM job ID (\d+)", runs[2])
    devices = devices_of_jobs(slurm)
    # The last task of an array has the array's own number.
    seen = {rule: devices[job] for job, rule in jobs} | {"elbo": set().union(*(devices[array] for array in arrays))}
    assert arrays
    assert {"training_images", "train_base", "train_logo", "unlearn", "elbo", "scores"} <= seen.keys()
    assert seen.pop("train_base") <= {"0", "1"}
    assert set().union(*seen.values()) == {"none"}


def test_a_job_that_is_cancelled_and_one_out_of_time_run_again(runs, slurm, tmp_path):
    run, models = without_models(runs[1], tmp_path / "run"), [BASE, LOGO]
    files = [run.experiment.paths.model_weights(model) for model in models]
    # Slurm counts in minutes: one for the first attempt, two for the next.
    process = start(run, *files, "--set-resources", "train_base:runtime=attempt", "train_logo:runtime=10")
    wait_for(lambda: training(run, BASE), "the base model's training").send_signal(signal.SIGSTOP)
    job = wait_for(lambda: slurm_job(slurm, "train_logo"), "a job of train_logo")
    subprocess.run(["scancel", job], env=slurm, timeout=30, check=True)
    text = said(process)
    assert "'TIMEOUT'" in text
    assert "'CANCELLED'" in text
    for file in files:
        assert sha256_file(run.directory / file) == sha256_file(runs[0].directory / file)


def test_what_the_user_has_to_mend_is_not_computed_again(runs, tmp_path):
    run = without_models(runs[1], tmp_path / "run")
    images = run.directory / run.experiment.paths.images()
    images.write_bytes(images.read_bytes()[:-8])
    text = said(start(run, run.experiment.paths.model_weights(BASE), "--retries", "1"), returncode=1)
    assert "Trying to restart job" in text
    log = (run.directory / run.experiment.paths.log("models", BASE)).read_text().splitlines()
    assert re.fullmatch(rf"error: {re.escape(str(run.experiment.paths.images()))}: .* \(not retried: .*\)", log[-1])


def test_a_killed_snakemake_is_gone_on_from(runs, slurm, tmp_path):
    run = without_models(runs[1], tmp_path / "run")
    file = run.experiment.paths.model_weights(BASE)
    process = start(run, file)
    wait_for(lambda: training(run, BASE), "the base model's training").send_signal(signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=SECONDS)
    orphan = slurm_job(slurm, "train_base")
    assert orphan, "the job lives on"
    subprocess.run(["scancel", orphan], env=slurm, timeout=30, check=True)
    wait_for(lambda: slurm_job(slurm, "train_base") is None and training(run, BASE) is None, "the end of the job")
    unlocked = run.snakemake("--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    said(start(run, file))
    assert sha256_file(run.directory / file) == sha256_file(runs[0].directory / file)
