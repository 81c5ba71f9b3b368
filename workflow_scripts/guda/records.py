"""What a job cost, as it recorded about itself in a small JSON file beside its artifact."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from guda.artifacts import read_json, sha256_file, write_json
from guda.specs import Spec

COSTS = ("seconds", "evaluations")


class Stopwatch:
    """Seconds of a job's own work. Made when the inputs are read: starting Python and importing are not counted."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._started


def write_record(
    path: str | Path, spec: Spec, outputs: Iterable[str | Path], *, seconds: float, evaluations: int, **costs: float
) -> None:
    """Write a job's record: its spec, the sha256 of its outputs, and its cost.

    An evaluation is one network forward on one sample; a training step on one sample counts 3.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    record = {
        "spec": spec.canonical(),
        "outputs": {Path(output).name: sha256_file(output) for output in outputs},
        "seconds": seconds,
        "evaluations": evaluations,
        "peak_memory_bytes": peak,
    }
    write_json(path, record | costs)


def total_cost(records: Iterable[str | Path]) -> tuple[float, int]:
    """Seconds and evaluations, summed over record files."""
    costs = [read_json(path) for path in records]
    return sum(cost["seconds"] for cost in costs), sum(cost["evaluations"] for cost in costs)
