"""What a run reports in Snakemake's log: what changed, its progress, why a job failed, and what came out.

Snakemake uses a Python logger whose records name their kind in `event`. They are read here as they pass, and shortened
where Snakemake prints commands and specs of thousands of characters. A record without the expected fields, as from
another version of Snakemake, passes unchanged.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guda.plan.changes import Changes
from guda.plan.progress import Progress, in_words

ANSWERS = {"rankings", "metrics"}  # rules after which there is something to summarize
FAILURES = 10  # failed jobs named at the end
TAIL = 20_000  # bytes at the end of a log that are searched for the error
SHOWN = 1000  # characters of an error
_PARAMETERS = re.compile(r"(Params have changed since last execution): .*", re.DOTALL)
_CHANGED = "the existing output was made with other settings"


class Narration(logging.Filter):
    """A filter for Snakemake's logger, in the process that plans and runs the workflow, not in its jobs."""

    def __init__(
        self, say: Callable[[str], None], changes: Changes, work: Callable[[], dict[str, float]], dry: bool, mark: str
    ):
        """`say` writes a line to the same log; `work` provides the argument of `Progress` when first needed.

        `mark` is the input that makes jobs rerun whose output was made with other settings.
        """
        super().__init__()
        self._say, self._changes, self._work, self._dry, self._mark = say, changes, work, dry, mark
        self._counts: dict[str, int] = {}
        self._progress: Progress | None = None
        self._titles: dict[int, str] = {}
        self._failed: dict[int, str] = {}
        self._started: set[str] = set()
        self._handlers: dict[str, tuple[Callable[[Any], None], set[str]]] = {
            "run_info": (self._planned, {"stats"}),
            "job_info": (self._starts, {"jobid", "rule_name", "rule_msg", "log", "reason"}),
            "job_finished": (self._finished, {"job_id"}),
            "progress": (self._progressed, {"done", "total"}),
            "job_error": (self._failed_job, {"jobid", "log", "rule_msg"}),
        }

    def filter(self, record: logging.LogRecord) -> bool:
        """Note what a record says, shorten it where that helps, and return whether to show it."""
        event = str(getattr(record, "event", ""))
        if event == "error" and getattr(record, "exception", "") == "RuleException":
            return "CalledProcessError" not in record.getMessage()  # the whole command; the job's own error follows
        take, fields = self._handlers.get(event, (None, set()))
        if take and fields <= vars(record).keys():
            take(record)
        return True

    def _planned(self, record: Any) -> None:
        """Before the table of jobs, say why some rerun."""
        self._counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
        lines = self._changes.lines()
        if lines:
            self._say("\n".join(["Rerun because settings changed:", *(f"    {line}" for line in lines), ""]))

    def _starts(self, record: Any) -> None:
        job, rule, title = record.jobid, record.rule_name, record.rule_msg
        reason = record.reason.replace(f"Updated input files: {self._mark}", _CHANGED)
        record.reason = _PARAMETERS.sub(r"\1", reason)
        self._titles[job] = title or rule
        if self._dry:
            return
        self._started.add(rule)
        self._of_run().start(job, rule, record.created)
        if title and record.log:
            record.rule_msg = f"{title} (log: {record.log[0]})"

    def _of_run(self) -> Progress:
        if self._progress is None:
            self._progress = Progress(self._work())
            self._progress.plan(self._counts)
        return self._progress

    def _finished(self, record: Any) -> None:
        job = record.job_id
        self._of_run().finish(job, record.created)
        self._failed.pop(job, None)
        self._titles.pop(job, None)

    def _progressed(self, record: Any) -> None:
        """Replace Snakemake's "37 of 104 steps (36%) done", which counts all jobs equally."""
        progress, done, total = self._of_run(), record.done, record.total
        line = f"[{time.strftime('%H:%M', time.localtime(record.created))}] {done} of {total} jobs"
        if done < total:
            line += f", about {min(99, round(100 * progress.share(record.created)))} % of the work"
            seconds = progress.seconds_left(record.created)
            line += "" if seconds is None else f", {in_words(seconds)} left"
        record.msg, record.event = line, None

    def _failed_job(self, record: Any) -> None:
        job, logs = record.jobid, record.log
        words = last_words(logs[0]) if logs else "it has no log"
        if record.rule_msg:  # the cluster's explanation
            words = f"{record.rule_msg} {words}"
        record.shellcmd, record.rule_msg = None, words
        self._failed[job] = f"{self._titles.get(job, job)}: {words}{f' (log: {logs[0]})' if logs else ''}"
        self._of_run().fail(job)

    def failures(self) -> list[str]:
        """The jobs that failed, in a few lines each, at most FAILURES."""
        more = len(self._failed) - FAILURES
        return [*self._failed.values()][:FAILURES] + ([f"and {more} more"] if more > 0 else [])

    @property
    def answered(self) -> bool:
        """Whether a table with the workflow's answers was made."""
        return bool(ANSWERS & self._started)


def last_words(log: str) -> str:
    """Why a job ended, from the end of its log: its error, or the last line of a traceback."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return "it ended before it wrote a log"
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if errors:
        return "\n".join(lines[errors[-1] :])[:SHOWN]
    if lines and ("Traceback (most recent call last):" in lines or lines[-1].startswith(("stopped ", "interrupted"))):
        return lines[-1][:SHOWN]
    ends = f"; its log ends with {lines[-1][:SHOWN]!r}" if lines else ""
    return f"it ended without an error message, as killed processes do (out of memory?){ends}"
