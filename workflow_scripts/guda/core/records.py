"""A job's cost, recorded in a small JSON file beside its artifact."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NotRequired, TypedDict

from guda.core.artifacts import CURE, check_spec, read_json, sha256_file, write_json
from guda.core.errors import ArtifactError
from guda.core.paths import record_of
from guda.core.spec import Spec, digest

COSTS = ("seconds", "cpu_seconds", "evaluations")
FORWARD_AND_BACKWARD = 3  # evaluations per sample of a training step; the backward pass counts as two


class Elapsed(TypedDict):
    """Wall-clock seconds, and CPU seconds summed over cores, which other jobs on the machine do not lengthen."""

    seconds: float
    cpu_seconds: NotRequired[float]  # unknown if an older version did part of the work


class Stopwatch:
    """Seconds of a job's own work, from when it reads its inputs: starting Python and imports are not counted."""

    def __init__(self) -> None:
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def elapsed(self) -> Elapsed:
        return Elapsed(seconds=time.perf_counter() - self._started, cpu_seconds=time.process_time() - self._cpu_started)


def write_record(
    path: str | Path,
    spec: Spec,
    outputs: Iterable[str | Path],
    *,
    seconds: float,
    evaluations: int = 0,
    **costs: float | str | dict[str, Any],
) -> None:
    """Write a job's record: its spec, the sha256 of its outputs, its cost, and a checksum over all of these.

    An evaluation is one forward pass on one sample; a training step on one sample counts as FORWARD_AND_BACKWARD.

    A record of the same spec and outputs is kept. Snakemake removes a job's files before it starts the job, so another
    process wrote that record meanwhile: one of the two jobs outlived its own, killed, Snakemake. Files may have been
    made from the record since, and would be stale if its times changed.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    described = {
        "spec": spec.canonical(),
        "outputs": {Path(output).name: sha256_file(output) for output in outputs},
    }
    if Path(path).exists() and _describes(path, described):
        print(f"{path}: kept, since another process has made the same files meanwhile", file=sys.stderr)
        return
    record = described | {"seconds": seconds, "evaluations": evaluations, "peak_memory_bytes": peak} | costs
    write_json(path, record | {"checksum": _checksum(record)})


def read_record(path: str | Path, spec_digest: str | None = None) -> dict[str, Any]:
    """Read a record. Raises ArtifactError if it is missing, damaged or not of the expected spec (None: any spec)."""
    record = read_json(path)
    if not isinstance(record, dict) or record.pop("checksum", None) != _checksum(record):
        raise ArtifactError(f"{path}: its content does not match its checksum; the file was damaged. {CURE}")
    check_spec(path, record.get("spec"), spec_digest)
    return record


def check_recorded(path: str | Path, spec_digest: str) -> None:
    """Raise ArtifactError unless a table is the file that its record says was made for the spec."""
    record = read_record(record_of(path), spec_digest)
    if record["outputs"].get(Path(path).name) != sha256_file(path):
        raise ArtifactError(f"{path}: not the file that {record_of(path)} describes. {CURE}")


def _describes(path: str | Path, files: dict[str, Any]) -> bool:
    """Whether a record is undamaged and of these files, which are given with their spec."""
    try:
        found = read_record(path)
    except ArtifactError:
        return False  # replaced by a good one
    return {key: found.get(key) for key in files} == files


def total_cost(records: dict[str, str], sizes: Mapping[str, float] = MappingProxyType({})) -> dict[str, float]:
    """Each of COSTS, summed over record files, each given with the digest of its expected spec.

    An evaluation counts as one, or as the record's entry in `sizes`. Costs that some (older) record lacks are left out.
    """
    costs = [read_record(path, expected) for path, expected in records.items()]
    for cost, path in zip(costs, records, strict=True):
        if path in sizes:
            cost["evaluations"] = round(cost["evaluations"] * sizes[path])
    return {name: sum(cost[name] for cost in costs) for name in COSTS if all(name in cost for cost in costs)}


def _checksum(record: dict[str, Any]) -> str:
    return digest(json.dumps(record, sort_keys=True))
