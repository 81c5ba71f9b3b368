"""The estimated cost of a run, phase by phase: the work of its jobs at measured speeds."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from guda.plan.jobs import COMPARED, DATA, TABLES, Job

MINUTE, HOUR = 60, 3600
LIGHT = ("table", "neighbors")  # kinds of jobs that never use a GPU
PRIORITY = {DATA: 3, "base model": 2}  # of phases, about as in the rules; other trainings have 1, everything else 0
ORDER = [DATA, "imported models", "base model", "queries", "unlearning", "scoring", COMPARED]


class Speed(NamedTuple):
    """Wall-clock seconds of a job of some kind: its fixed overhead, and the time per unit of work."""

    start: float
    each: float = 0


class Machine(NamedTuple):
    """Cores given to Snakemake, threads per job that runs a network, and GPUs (0: none requested)."""

    cores: int
    threads: int = 1
    gpus: int = 0

    def taken(self, job: Job) -> tuple[int, int]:
        """Cores and GPUs that a job occupies; Snakemake caps a job's threads at the cores it was given."""
        return 1 if job.kind == "table" else min(self.threads, self.cores), int(self.gpus > 0 and job.kind not in LIGHT)


def estimate(jobs: Sequence[Job], speeds: Mapping[str, Speed], model_bytes: float, machine: Machine) -> pd.DataFrame:
    """estimate.csv: a row per phase and one for the total; see docs/files.md.

    `speeds` holds the speed of each kind of job on this machine, `model_bytes` the size of a model on disk.
    """
    seconds = {job.output: speeds[job.kind].start + job.work * speeds[job.kind].each for job in jobs}
    phases: dict[str, list[Job]] = {}
    for job in jobs:
        phases.setdefault(job.phase, []).append(job)
    last = [name for name in sorted(phases) if name.startswith("oracle")]
    others = [name for name in phases if name not in (*ORDER, *last, TABLES)]
    order = [name for name in (*ORDER, *others, *last, TABLES) if name in phases]
    rows = [_row(name, phases[name], seconds, model_bytes, machine) for name in order]
    return pd.DataFrame([*rows, _row("all", jobs, seconds, model_bytes, machine)])


def _row(
    phase: str, jobs: Sequence[Job], seconds: Mapping[str, float], model_bytes: float, machine: Machine
) -> dict[str, str | float]:
    processor = sum(seconds[job.output] * machine.taken(job)[0] for job in jobs)
    on_gpu = sum(seconds[job.output] * machine.taken(job)[1] for job in jobs)
    return {
        "phase": phase,
        "jobs": len(jobs),
        "evaluations": round(sum(job.work for job in jobs if job.kind not in LIGHT)),
        "processor_minutes": round(processor / MINUTE, 2),
        "clock_minutes": round(clock(jobs, seconds, machine) / MINUTE, 2),
        "gpu_hours": round(on_gpu / HOUR, 3),
        "megabytes": round(sum(job.size + model_bytes * (job.kind in ("train", "unlearn")) for job in jobs) / 1e6, 2),
    }


def clock(jobs: Iterable[Job], seconds: Mapping[str, float], machine: Machine) -> float:
    """Wall-clock seconds until all jobs are done, each started once its inputs exist and enough cores are free.

    Inputs that none of the jobs makes already exist. Among waiting jobs, trainings and what they read come first, as in
    the rules.
    """
    by_output = {job.output: job for job in jobs}
    lacking = {name: set(job.inputs) & by_output.keys() for name, job in by_output.items()}
    waiting: dict[str, list[str]] = {}
    for name, inputs in lacking.items():
        for each in inputs:
            waiting.setdefault(each, []).append(name)
    order = {name: (_rank(job), place) for place, (name, job) in enumerate(by_output.items())}
    ready: list[tuple[int, int, str]] = sorted((*order[name], name) for name, inputs in lacking.items() if not inputs)
    running: list[tuple[float, str]] = []
    now, cores, gpus = 0.0, machine.cores, machine.gpus
    while ready or running:
        held_back = []
        while ready and cores:
            first = heapq.heappop(ready)
            on_cores, on_gpus = machine.taken(by_output[first[-1]])
            if on_cores > cores or on_gpus > gpus:
                held_back.append(first)
                continue
            cores, gpus = cores - on_cores, gpus - on_gpus
            heapq.heappush(running, (now + seconds[first[-1]], first[-1]))
        for held in held_back:
            heapq.heappush(ready, held)
        now, done = heapq.heappop(running)
        on_cores, on_gpus = machine.taken(by_output[done])
        cores, gpus = cores + on_cores, gpus + on_gpus
        for name in waiting.get(done, []):
            lacking[name].remove(done)
            if not lacking[name]:
                heapq.heappush(ready, (*order[name], name))
    return now


def _rank(job: Job) -> int:
    return -PRIORITY.get(job.phase, int(job.kind == "train"))
