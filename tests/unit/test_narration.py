"""What is read out of Snakemake's records and jobs' logs, and what is said at the end."""

import csv
import logging

import pytest

from guda.plan.changes import Changes
from guda.plan.narration import Narration, last_words
from guda.plan.summary import _agreement, _first_groups


def record(event, created=0.0, msg=None, **fields):
    made = logging.makeLogRecord({"event": event, "created": created, "msg": msg, "args": ()} | fields)
    return made


def starts(job, rule, created, log):
    return record("job_info", created, jobid=job, rule_name=rule, rule_msg=f"Doing {rule}", log=[log], reason="none")


@pytest.fixture
def said():
    return []


@pytest.fixture
def narration(said):
    return Narration(said.append, Changes(), lambda: {"train": 1.0}, dry=False, mark="/mark")


def test_a_finished_job_is_followed_by_the_share_of_the_work_and_the_time_left(narration):
    """Two trainings of 90 s, of which one has ended, and a table of 4 s: 90 of 184 s are done, 94 left."""
    narration.filter(record("run_info", stats={"train": 2, "table": 1, "total": 3}))
    first = starts(1, "train", 0.0, "base.log")
    assert narration.filter(first)
    assert first.rule_msg == "Doing train (log: base.log)"
    narration.filter(record("job_finished", 90.0, job_id=1))
    line = record("progress", 90.0, done=1, total=3)
    assert narration.filter(line)
    assert line.event is None
    assert line.msg.endswith("] 1 of 3 jobs, about 49 % of the work, about 2 minutes left")


def test_a_failed_job_says_its_error_in_place_of_its_command_until_it_goes_well(narration, tmp_path):
    log = tmp_path / "job.log"
    log.write_text("$ python train.py\ntraining: 3/9 in 10 s\nerror: the loss is nan\n")
    narration.filter(starts(1, "train", 0.0, str(log)))
    assert not narration.filter(record("error", msg="CalledProcessError in file x", exception="RuleException"))
    assert narration.filter(record("error", msg="another", exception="RuleException"))
    failed = record("job_error", jobid=1, log=[str(log)], shellcmd="printf", rule_msg=None)
    assert narration.filter(failed)
    assert (failed.shellcmd, failed.rule_msg) == (None, "error: the loss is nan")
    assert narration.failures() == [f"Doing train: error: the loss is nan (log: {log})"]
    narration.filter(starts(1, "train", 5.0, str(log)))
    narration.filter(record("job_finished", 9.0, job_id=1))
    assert narration.failures() == []
    timed_out = record("job_error", jobid=1, log=[str(log)], shellcmd="printf", rule_msg="SLURM status is: 'TIMEOUT'.")
    narration.filter(timed_out)
    assert timed_out.rule_msg == "SLURM status is: 'TIMEOUT'. error: the loss is nan"


def test_the_plan_says_what_changed_and_why_a_job_runs_again(narration, said):
    narration._changes.add("models/base/x.safetensors", '{"steps":3}', '{"steps":4}')
    narration.filter(record("run_info", stats={"train": 1, "total": 1}))
    assert said == ["Rerun because settings changed:\n    models/base: steps 3 -> 4\n"]
    job = starts(1, "train", 0.0, "x.log")
    job.reason = "Updated input files: /mark; Params have changed since last execution: {'a long': 'spec'}"
    narration.filter(job)
    assert job.reason == "the existing output was made with other settings; Params have changed since last execution"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("$ call\nerror: one line\n", "error: one line"),
        ("$ call\nwarning: x\nerror: two\n  lines\n", "error: two\n  lines"),
        ("$ call\nTraceback (most recent call last):\n  File\nValueError: bad\n", "ValueError: bad"),
        ("$ call\nstopped after step 3 of 5 and saved\n", "stopped after step 3 of 5 and saved"),
        (
            "$ call\ntraining: 3/9 in 10 s\n\n",
            "it ended without an error message, as killed processes do (out of memory?); its log ends with "
            "'training: 3/9 in 10 s'",
        ),
        ("", "it ended without an error message, as killed processes do (out of memory?)"),
        (None, "it ended before it wrote a log"),
    ],
)
def test_the_last_words_of_a_log(tmp_path, log, words):
    if log is not None:
        (tmp_path / "x.log").write_text(log)
    assert last_words(str(tmp_path / "x.log")) == words


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_first_groups_and_agreement_in_a_line_each(tmp_path):
    """Of nine queries g6 is first for two, g0 to g5 for one each, and on one two groups tie."""
    firsts = ["g6", "g6", "g0", "g1", "g2", "g3", "g4", "g5"]
    rows = [{"method": "guda", "query": f"q{n}", "rank": "1", "group": group} for n, group in enumerate(firsts)]
    rows += [{"method": "guda", "query": "tied", "rank": "1.5", "group": group} for group in ("g0", "g1")]
    rows += [{"method": "random", "query": "q0", "rank": "1", "group": "g9"}]
    assert _first_groups(write(tmp_path / "rankings.csv", rows), "guda") == (
        "9 queries ranked. guda ranks first: g6 (2), g0 (1), g1 (1), g2 (1), g3 (1), others (2), ties (1)."
    )
    rows = [{"method": name, "top1": top1} for name, top1 in (("logo", "1.0"), ("ceiling", "0.851"), ("guda", "0.784"))]
    metrics = write(tmp_path / "metrics.csv", rows)
    assert _agreement(metrics, "guda") == (
        "Retraining ranks the same group first for 78% of them; another retraining agrees with it for 85%."
    )
    assert _agreement(metrics, "absent") == ""
