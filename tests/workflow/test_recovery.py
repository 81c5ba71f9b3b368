"""Whatever is killed, whenever: after the documented recovery the results are an undisturbed run's to the bit."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import pandas as pd
import psutil
import pytest
from harness import ROOT, logged_call

from guda.core.artifacts import sha256_file
from guda.core.paths import BASE, STATE, STORE
from guda.evaluation.metrics_table import COSTS

# Seconds from a start of snakemake to the kill: from before the first job to well into the run.
EARLIEST, LATEST = 3, 25
ROUNDS, KILLS = 5, 4  # 20 kills of each kind in all
LONGER = "training: {steps: 600}"


def kill_snakemake(process, rng):
    """Jobs that it started live on for a while, as they do when a login node kills it."""
    process.kill()
    process.wait()
    return True


def kill_job(process, rng):
    """The program of a job; its shell reports a failure, as it does for the kernel's out-of-memory killer.

    False when there was none to be killed: none running, or the chosen one came to its end by itself meanwhile.
    """
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        jobs = [child for child in children if any("workflow_scripts" in word for word in child.cmdline()[:2])]
        if not jobs:
            return False
        rng.choice(jobs).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return process.wait() != 0


def ctrl_c(process, rng):
    """What a terminal sends: SIGINT to Snakemake and to all that it started."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait() != 0


def contents(run):
    """Digest of every file of the results whose content is no measure of time."""
    digests = {}
    for path in sorted(run.results.rglob("*")):
        name = path.relative_to(run.results).as_posix()
        if name.startswith(f"{STORE}/"):  # tells the time, and in how many pieces a job came to its end
            continue
        if path.is_file() and path.suffix in {".safetensors", ".json", ".csv", ".png"} and path.name[0] != ".":
            digests[name] = sha256_file(path)
    timed = {name for name in digests if name.startswith("metrics") or name.endswith("record.json")}
    for name in timed:
        del digests[name]
    return digests


def measured(run):
    """metrics.csv without the columns of seconds."""
    frame = pd.read_csv(run.results / "metrics.csv")
    return frame.drop(columns=[name for name in COSTS if name.endswith("seconds")])


def fresh(run, directory):
    """The same configuration in another folder, without results."""
    directory.mkdir()
    for name in ("config.yaml", "tiny.yaml"):
        shutil.copy(run.directory / name, directory)
    return replace(run, directory=directory)


def start(run, *arguments, **options):
    """Begin a run whose programs are Snakemake's own children, so that they can be found and killed."""
    command, settings = replace(run, cold=True).command(*arguments, **options)
    return subprocess.Popen(
        command, **settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def still_runs(sessions):
    """Whether a process of one of these sessions does: jobs outlive a Snakemake that was killed."""
    for pid in psutil.pids():
        try:
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue  # ended since it was listed
    return False


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([kill_job, kill_snakemake], id="sample"),
        *(
            pytest.param([kill] * KILLS, id=f"{kill.__name__}-{number}", marks=pytest.mark.slow)
            for kill in (kill_job, kill_snakemake)
            for number in range(ROUNDS)
        ),
    ],
)
def test_after_kills_at_random_moments_the_results_are_the_same(small, kills, tmp_path, request):
    rng = random.Random(request.node.callspec.id)
    run, killed, sessions = fresh(small, tmp_path / "run"), 0, set()
    while killed < len(kills):
        process = start(run, "--cores", "2")
        sessions.add(process.pid)
        time.sleep(rng.uniform(EARLIEST, LATEST))
        while process.poll() is None and not kills[killed](process, rng):
            time.sleep(0.1)
        if process.returncode == 0:
            shutil.rmtree(run.results)  # nothing left to kill: start over
        else:
            killed += 1
        unlocked = run.snakemake("--unlock")
        assert unlocked.returncode == 0, unlocked.stderr
    recovered = run.snakemake("--cores", "2")
    assert recovered.returncode == 0, recovered.stderr
    while still_runs(sessions):
        time.sleep(0.1)
    assert contents(run) == contents(small)
    assert measured(run).equals(measured(small))
    assert not list(run.results.rglob(STATE))
    assert run.planned() == set()


@pytest.mark.parametrize(
    "log", [("models", BASE), ("elbo", BASE, "bucket-0000"), ("scores", "guda_uncalibrated")], ids=" ".join
)
def test_a_job_that_ends_after_another_run_of_it_makes_nothing_stale(small, tmp_path, log):
    """As a job does that outlived its Snakemake while the next run did all the work."""
    run = small.copied(tmp_path / "run")
    late = subprocess.run(logged_call(run, *log), cwd=run.directory, capture_output=True, text=True, check=False)
    assert late.returncode == 0, late.stderr
    assert "kept, since another process has made the same files meanwhile" in late.stderr
    assert run.planned() == set()


def test_the_readme_and_the_docs_tell_the_recovery():
    command = "snakemake --unlock && snakemake --cores all results/metrics.csv"
    for file in ("README.md", "docs/caching.md"):
        assert command in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def straight(workflow, tmp_path_factory):
    """A base model's file, from a training that nothing disturbed."""
    run = fresh(workflow, tmp_path_factory.mktemp("straight") / "run")
    weights = run.experiment.paths.model_weights(BASE)
    done = run.snakemake("--cores", "1", weights, overlays=(LONGER,))
    assert done.returncode == 0, done.stderr
    return run.directory / weights


@pytest.mark.parametrize("end", [kill_job, ctrl_c])
def test_a_training_that_was_ended_goes_on_from_its_last_state(workflow, straight, tmp_path, end):
    """Through snakemake: the log says where it went on, and the model is the undisturbed one."""
    paths = workflow.experiment.paths
    weights = paths.model_weights(BASE)
    disturbed = fresh(workflow, tmp_path / "disturbed")
    state = (disturbed.directory / weights).with_name(STATE)
    process = start(disturbed, "--cores", "1", weights, overlays=(LONGER,))
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.05)
    assert end(process, random.Random(0))
    assert state.exists()
    log = disturbed.directory / paths.log("models", BASE)
    told = r"stopped after step (\d+) of 600 and saved; the next run goes on from there"
    stopped = re.findall(told, log.read_text())
    assert len(stopped) == (end is ctrl_c)
    assert not (disturbed.directory / weights).exists()
    done = disturbed.snakemake("--cores", "1", weights, overlays=(LONGER,))
    assert done.returncode == 0, done.stderr
    (step,) = re.findall(r"resuming from step (\d+)", log.read_text())
    assert 0 < int(step) < 600
    assert step in (stopped or [step])
    assert not state.exists()
    assert sha256_file(disturbed.directory / weights) == sha256_file(straight)
