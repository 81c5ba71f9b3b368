"""What a user of the real snakemake reads: why jobs run again, how far a run is, why one failed, what came out."""

import re

import pytest


@pytest.fixture
def run(workflow, tmp_path):
    return workflow.copied(tmp_path / "run")


def test_a_plan_says_what_changed_before_it_lists_jobs(run):
    """In a line for the two models; the likelihoods and scores that follow have none."""
    rate = run.experiment.config.unlearn.learning_rate
    done = run.snakemake("--dry-run", "--quiet", "rules", overlays=("unlearn: {learning_rate: 5.0e-4}",))
    said = done.stderr + done.stdout
    changed = f"models/guda/amber, models/guda/cedar (2 jobs): settings.learning_rate {rate} -> 0.0005\n"
    assert re.search(f"Rerun because settings changed:\n    {re.escape(changed)}\nJob stats:", said), said
    assert "foreign" not in said


def test_a_run_says_how_far_it_is_and_sums_up(run):
    results = run.experiment.config.results
    (run.results / "metrics.csv").unlink()
    done = run.snakemake("--cores", "1", f"{results}/metrics.csv")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\[\d\d:\d\d\] 1 of 1 jobs$", done.stderr, flags=re.MULTILINE)
    assert f"Measuring every method against the oracle (log: {results}/logs/metrics.log)" in done.stderr
    assert re.search(r"^6 queries ranked\. guda ranks first: (amber|cedar) \(", done.stderr, flags=re.MULTILINE)
    assert f"See {results}/rankings.csv, {results}/figures/queries.png, {results}/metrics.csv." in done.stderr


def test_a_run_that_is_to_be_quiet_says_nothing_and_one_without_answers_does_not_sum_up(run):
    figure = run.experiment.paths.figure()
    for quiet in (["--quiet", "all"], []):
        (run.directory / figure).unlink()
        done = run.snakemake("--cores", "1", *quiet, "--", figure)
        assert done.returncode == 0, done.stderr
        assert "queries ranked" not in done.stderr
        assert ("1 of 1 jobs" in done.stderr) == (not quiet)


def test_a_failed_job_says_its_error_at_once_and_at_the_end_and_no_command(run):
    paths = run.experiment.paths
    file = run.directory / paths.elbo("base", "calibration")
    file.write_bytes(file.read_bytes()[:-5])
    (run.directory / paths.scores("guda")).unlink()
    done = run.snakemake("--cores", "1", paths.scores("guda"))
    assert done.returncode != 0
    error = f"error: {paths.elbo('base', 'calibration')}: not a readable safetensors file"
    assert re.search(rf"^    message: {re.escape(error)}", done.stderr, flags=re.MULTILINE)
    _, end = done.stderr.split("Failed jobs:\n")
    assert end.startswith(f"Attributing with guda: {error}")
    assert f"(log: {paths.log('scores', 'guda')})" in end
    assert "printf" not in done.stderr
    assert "--spec" not in done.stderr
