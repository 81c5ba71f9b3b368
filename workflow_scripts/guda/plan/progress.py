"""Progress of a run, weighted by the duration of its jobs: what is done, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

STARTUP = 4.0  # seconds for a job that computes almost nothing (importing Python's libraries), until one is timed
SMALL = 0.01  # a job with less than this fraction of the costliest job's work computes almost nothing
RECENT = 20  # finished jobs from which the number of concurrent jobs is estimated


class Progress:
    """Progress of one run. Job ids are arbitrary, and times are seconds on any clock."""

    def __init__(self, work: Mapping[str, float]):
        """`work` is the work of a job of each rule, in any unit; rules that are not listed compute almost nothing."""
        self._work = work
        self._planned: dict[str, int] = {}
        self._running: dict[int, tuple[str, float]] = {}
        self._finished: dict[str, tuple[int, float]] = {}  # number of jobs of a rule, and their total seconds
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)  # seconds of a job, and jobs running at its end

    def plan(self, counts: Mapping[str, int]) -> None:
        """Set how many jobs of each rule are to run, including those that have finished."""
        self._planned = dict(counts)

    def start(self, job: int, rule: str, now: float) -> None:
        self._running[job] = rule, now

    def fail(self, job: int) -> None:
        """Forget a failed job, which may be restarted."""
        self._running.pop(job, None)

    def finish(self, job: int, now: float) -> None:
        if job not in self._running:  # such as jobs that Snakemake only marks as done
            return
        at_a_time = len(self._running)
        rule, started = self._running.pop(job)
        number, seconds = self._finished.get(rule, (0, 0.0))
        self._finished[rule] = number + 1, seconds + now - started
        self._recent.append((now - started, at_a_time))

    def share(self, now: float) -> float:
        """Fraction of the work that is done, from 0 to 1."""
        done, left = self._done(now), self._left(now)
        return done / (done + left) if done + left else 1.0

    def seconds_left(self, now: float) -> float | None:
        """Seconds until everything is done; None until a job that computes has finished."""
        if self._pace() is None:
            return None
        seconds = sum(each for each, _ in self._recent)
        at_a_time = sum(each * number for each, number in self._recent) / seconds if seconds else 1.0
        return self._left(now) / at_a_time

    def _largest(self) -> float:
        return max((self._work.get(rule, 0.0) for rule in self._planned), default=0.0)

    def _computing(self, yes: bool) -> dict[str, tuple[int, float]]:
        """The rules with finished jobs that compute (`yes`), or those that do not."""
        least = SMALL * self._largest()
        return {rule: each for rule, each in self._finished.items() if (self._work.get(rule, 0.0) > least) == yes}

    def _startup(self) -> float:
        started = self._computing(False).values()
        number = sum(number for number, _ in started)
        return sum(seconds for _, seconds in started) / number if number else STARTUP

    def _pace(self) -> float | None:
        """Seconds per unit of work in finished jobs; None until one that computes has finished."""
        computed = self._computing(True)
        work = sum(self._work[rule] * number for rule, (number, _) in computed.items())
        seconds = sum(max(seconds - self._startup() * number, 0.0) for number, seconds in computed.values())
        return seconds / work if work else None

    def _expected(self, rule: str) -> float:
        """Expected seconds of a job: the mean of its rule, or its work at the pace of other rules."""
        if rule in self._finished:
            number, seconds = self._finished[rule]
            return seconds / number
        pace = self._pace()
        if pace is None:  # assume that the costliest job takes an hour
            pace = 3600 / (self._largest() or 1.0)
        return self._startup() + self._work.get(rule, 0.0) * pace

    def _elapsed(self, now: float) -> dict[int, float]:
        """Seconds that each running job has taken, capped at its expected duration."""
        return {job: min(now - started, self._expected(rule)) for job, (rule, started) in self._running.items()}

    def _done(self, now: float) -> float:
        return sum(seconds for _, seconds in self._finished.values()) + sum(self._elapsed(now).values())

    def _left(self, now: float) -> float:
        numbers = {rule: count - self._finished.get(rule, (0, 0.0))[0] for rule, count in self._planned.items()}
        left = sum(max(number, 0) * self._expected(rule) for rule, number in numbers.items())
        return left - sum(self._elapsed(now).values())


def in_words(seconds: float) -> str:
    """ "less than a minute", "about 9 minutes", "about 3 hours", "about 2 days"."""
    if seconds < 60:
        return "less than a minute"
    for unit, length in (("day", 86400), ("hour", 3600)):
        if seconds >= 2 * length:
            return f"about {round(seconds / length)} {unit}s"
    number = round(seconds / 60)
    return f"about {number} minute{'s' if number > 1 else ''}"
