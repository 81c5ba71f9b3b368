"""Time and peak memory of tables for many queries and groups, on synthetic scores of one method and one oracle.

Each row runs in its own process. `of_reading` is a table's time relative to reading its input as text with pandas,
measured alongside.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from side_by_side import ROOT, report

METHODS = ("logo", "guda")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000, metavar="N")
    parser.add_argument("--groups", type=int, default=1000, metavar="N")
    parser.add_argument("--folder", help="where to create a temporary folder (default: the system's temporary folder)")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measured(STEPS[args.step], args)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="guda-tables-") as folder:
        os.chdir(folder)
        found = {}
        for step in STEPS:
            command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), *sys.argv[1:], "--step", step]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            found[step] = json.loads(done.stdout)
        for step, read in (("rankings", "read scores"), ("metrics", "read rankings")):
            seconds, peak = found[step]
            report(
                "tables",
                "CPU",
                table=step,
                rows=len(METHODS) * args.queries * args.groups,
                seconds=seconds,
                of_reading=seconds / found[read][0],
                peak_gb=peak / 1e9,
            )


def measured(step: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> tuple[float, int]:
    """CPU seconds and peak resident memory in bytes."""
    started = time.process_time()
    step(args)
    return time.process_time() - started, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write_scores(args: argparse.Namespace) -> None:
    import numpy as np

    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import write_record
    from guda.evaluation.scores import Scores, scores_frame

    generator, paths = np.random.default_rng(0), Paths(".")
    queries, groups = (
        [f"{kind}-{row:06}" for row in range(n)] for kind, n in (("query", args.queries), ("group", args.groups))
    )
    for name in METHODS:
        score, se = generator.normal(size=(2, args.queries, args.groups))
        frame = scores_frame(Scores(queries, groups, score, np.abs(se), np.abs(se), np.abs(se)))
        write_csv(paths.scores(name), frame)
        costs = dict.fromkeys(("build_seconds", "query_seconds", "build_evaluations", "query_evaluations"), 1)
        write_record(record_of(paths.scores(name)), made_up(), [paths.scores(name)], seconds=0.0, **costs)


def made_up():
    from guda.methods.random.plan import RandomSpec

    return RandomSpec(groups=[], buckets={}, seed=0)


def rankings_spec():
    from guda.specs import RankingsSpec

    return RankingsSpec(
        scores=dict.fromkeys(METHODS, made_up().digest()), files={name: name for name in METHODS}, queries={}
    )


def rankings(args: argparse.Namespace) -> None:
    from guda.core.artifacts import write_csv
    from guda.core.paths import Paths, record_of
    from guda.core.records import write_record
    from guda.evaluation.ranking import rankings_csv

    spec, paths = rankings_spec(), Paths(".")
    write_csv(paths.rankings(), rankings_csv(spec, paths))
    write_record(record_of(paths.rankings()), spec, [paths.rankings()], seconds=0.0)


def metrics(args: argparse.Namespace) -> None:
    from guda.config import Metrics
    from guda.core.paths import Paths
    from guda.evaluation.metrics_table import metrics_csv
    from guda.specs import MetricsSpec

    files = {name: name for name in METHODS}
    spec = MetricsSpec(
        rankings=rankings_spec().digest(), files=files, oracles=["logo"], methods=["guda"], settings=Metrics()
    )
    print(metrics_csv(spec, Paths(".")).to_string(), file=sys.stderr)


def read(*files: str) -> None:
    import pandas as pd

    for file in files:
        pd.read_csv(file, dtype=str, keep_default_na=False)


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "write scores": write_scores,
    "read scores": lambda args: read(*(f"scores/{name}.csv" for name in METHODS)),
    "rankings": rankings,
    "read rankings": lambda args: read("rankings.csv"),
    "metrics": metrics,
}

if __name__ == "__main__":
    main()
