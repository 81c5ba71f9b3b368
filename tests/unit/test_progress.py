"""How far a run is, by the seconds of its jobs."""

import re
from pathlib import Path

import pytest

from guda.plan.progress import Progress, in_words
from guda.plan.resources import STAGES

RULES = Path(__file__).resolve().parents[2] / "rules"


def after(progress, *jobs):
    """Jobs one after the other, (rule, seconds) each; returns the time at the end."""
    now = 0.0
    for number, (rule, seconds) in enumerate(jobs):
        progress.start(number, rule, now)
        now += seconds
        progress.finish(number, now)
    return now


def test_what_is_left_is_what_jobs_of_the_same_rule_took():
    """Of 10 and 14 s each one is left: 12 s; 100 s of 10 tables 5 s each less one, 45 s. Done are 24 + 5 of 86 s."""
    progress = Progress({"train": 1.0})
    progress.plan({"train": 3, "table": 10})
    now = after(progress, ("train", 10), ("train", 14), ("table", 5))
    assert progress.seconds_left(now) == pytest.approx(12 + 45)
    assert progress.share(now) == pytest.approx(29 / 86)


def test_a_rule_of_which_none_has_finished_is_expected_by_its_work():
    """A unit of work took (44 - 4) / 4 = 10 s; one of 2 units takes 4 + 20 s, one that computes nothing 4 s."""
    progress = Progress({"train": 4.0, "unlearn": 2.0})
    progress.plan({"train": 1, "unlearn": 3, "table": 2})
    now = after(progress, ("train", 44))
    assert progress.seconds_left(now) == pytest.approx(3 * 24 + 2 * 4)


def test_as_long_as_nothing_has_computed_no_time_is_foretold():
    progress = Progress({"train": 4.0, "unlearn": 1.0})
    progress.plan({"train": 1, "unlearn": 1, "table": 2})
    now = after(progress, ("table", 3))
    assert progress.seconds_left(now) is None
    assert 0 < progress.share(now) < 0.01


def test_a_job_that_computes_next_to_nothing_foretells_nothing_but_how_long_a_start_takes():
    """20 s went into a thousandth of a training: a busy machine. Of one of 120 s the work took 100."""
    progress = Progress({"train": 1000.0, "unlearn": 500.0, "neighbors": 1.0})
    progress.plan({"train": 2, "unlearn": 1, "neighbors": 1})
    after(progress, ("neighbors", 20))
    assert progress.seconds_left(20) is None
    progress.start(1, "train", 20)
    progress.finish(1, 140)
    assert progress.seconds_left(140) == pytest.approx(120 + 20 + 50)


def test_jobs_that_run_side_by_side_halve_the_time_and_count_for_what_they_have_done():
    """Two of four trainings of 10 s side by side; then two more, after 4 s: 2 x 6 s, two at a time."""
    progress = Progress({"train": 1.0})
    progress.plan({"train": 4})
    for job in (0, 1):
        progress.start(job, "train", 0)
    progress.finish(0, 10)
    progress.start(2, "train", 10)
    progress.finish(1, 10)
    progress.start(3, "train", 10)
    assert progress.seconds_left(14) == pytest.approx(6)
    assert progress.share(14) == pytest.approx(28 / 40)
    progress.fail(3)  # and has to begin again
    assert progress.seconds_left(14) == pytest.approx((6 + 10) / 2)


def test_all_done():
    progress = Progress({"train": 1.0})
    progress.plan({"train": 1})
    now = after(progress, ("train", 10))
    assert (progress.share(now), progress.seconds_left(now)) == (1, 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59, "less than a minute"),
        (60, "about 1 minute"),
        (550, "about 9 minutes"),
        (7199, "about 120 minutes"),
        (7200, "about 2 hours"),
        (172_800, "about 2 days"),
    ],
)
def test_time_in_words(seconds, words):
    assert in_words(seconds) == words


def test_every_rule_that_may_run_on_a_gpu_is_expected_to_take_time():
    """Those that say so themselves, and those that are the same but for what they name (`use rule .. as`)."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.smk")))
    blocks = re.split(r"^ *(?=use rule |rule |checkpoint )", text, flags=re.MULTILINE)[1:]
    names = {re.match(r"(?:use rule \w+ as |rule |checkpoint )(\w+)", block)[1]: block for block in blocks}
    computing = {name for name, block in names.items() if "gpu=True" in block}
    while more := {
        name
        for name, block in names.items()
        if (base := re.match(r"use rule (\w+) as", block)) and base[1] in computing and name not in computing
    }:
        computing |= more
    assert computing <= STAGES.keys() <= names.keys()
