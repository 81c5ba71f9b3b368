"""How far a run is, by the time that its jobs take: what is done, and about how long the rest will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

STARTUP = 4.0  # seconds of a job that computes next to nothing, Python and its libraries, until one has told
SMALL = 0.01  # of the work of the costliest job: what computes less is next to nothing
RECENT = 20  # finished jobs by which is judged how many run side by side


class Progress:
    """Of one run. Jobs are known by any name, times are seconds of any clock."""

    def __init__(self, work: Mapping[str, float]):
        """`work` is what a job of each rule computes, in any unit; rules that are not there compute next to nothing."""
        self._work = work
        self._planned: dict[str, int] = {}
        self._running: dict[int, tuple[str, float]] = {}
        self._finished: dict[str, tuple[int, float]] = {}  # jobs of a rule, and the seconds that they took
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)  # seconds of a job, and how many ran at its end

    def plan(self, counts: Mapping[str, int]) -> None:
        """So many jobs of each rule are to run, those that have finished included."""
        self._planned = dict(counts)

    def start(self, job: int, rule: str, now: float) -> None:
        self._running[job] = rule, now

    def fail(self, job: int) -> None:
        """It may start again."""
        self._running.pop(job, None)

    def finish(self, job: int, now: float) -> None:
        if job not in self._running:  # as those that Snakemake only marks as made
            return
        at_a_time = len(self._running)
        rule, started = self._running.pop(job)
        number, seconds = self._finished.get(rule, (0, 0.0))
        self._finished[rule] = number + 1, seconds + now - started
        self._recent.append((now - started, at_a_time))

    def share(self, now: float) -> float:
        """How much of the work is done, 0 to 1."""
        done, left = self._done(now), self._left(now)
        return done / (done + left) if done + left else 1.0

    def seconds_left(self, now: float) -> float | None:
        """Seconds until all is done; None as long as nothing tells: no job that computes has come to its end."""
        if self._pace() is None:
            return None
        seconds = sum(each for each, _ in self._recent)
        at_a_time = sum(each * number for each, number in self._recent) / seconds if seconds else 1.0
        return self._left(now) / at_a_time

    def _largest(self) -> float:
        return max((self._work.get(rule, 0.0) for rule in self._planned), default=0.0)

    def _computing(self, yes: bool) -> dict[str, tuple[int, float]]:
        """Of what has finished the rules that compute, or those that do not."""
        least = SMALL * self._largest()
        return {rule: each for rule, each in self._finished.items() if (self._work.get(rule, 0.0) > least) == yes}

    def _startup(self) -> float:
        started = self._computing(False).values()
        number = sum(number for number, _ in started)
        return sum(seconds for _, seconds in started) / number if number else STARTUP

    def _pace(self) -> float | None:
        """Seconds of a unit of work, by the jobs that have finished; None before one that computes has."""
        computed = self._computing(True)
        work = sum(self._work[rule] * number for rule, (number, _) in computed.items())
        seconds = sum(max(seconds - self._startup() * number, 0.0) for number, seconds in computed.values())
        return seconds / work if work else None

    def _expected(self, rule: str) -> float:
        """Seconds of a job: as others of its rule took, or by its work at the pace of others."""
        if rule in self._finished:
            number, seconds = self._finished[rule]
            return seconds / number
        pace = self._pace()
        if pace is None:  # as if the costliest job took an hour
            pace = 3600 / (self._largest() or 1.0)
        return self._startup() + self._work.get(rule, 0.0) * pace

    def _elapsed(self, now: float) -> dict[int, float]:
        """What each running job has done, in seconds: no more than it is expected to take."""
        return {job: min(now - started, self._expected(rule)) for job, (rule, started) in self._running.items()}

    def _done(self, now: float) -> float:
        return sum(seconds for _, seconds in self._finished.values()) + sum(self._elapsed(now).values())

    def _left(self, now: float) -> float:
        numbers = {rule: count - self._finished.get(rule, (0, 0.0))[0] for rule, count in self._planned.items()}
        left = sum(max(number, 0) * self._expected(rule) for rule, number in numbers.items())
        return left - sum(self._elapsed(now).values())


def in_words(seconds: float) -> str:
    """ "less than a minute", "some 9 minutes", "some 3 hours", "some 2 days"."""
    if seconds < 60:
        return "less than a minute"
    for unit, length in (("day", 86400), ("hour", 3600)):
        if seconds >= 2 * length:
            return f"some {round(seconds / length)} {unit}s"
    number = round(seconds / 60)
    return f"some {number} minute{'s' if number > 1 else ''}"
