"""What a finished run found, in a few lines."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from guda.plan.health_notes import health_notes

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

NAMED = 5  # groups


def summary(experiment: Experiment) -> tuple[list[str], list[str]]:
    """The findings and where to look, one line each; and warnings about unhealthy models."""
    paths, method = experiment.on_disk, experiment.config.methods[0]
    lines = [_first_groups(Path(paths.rankings()), method)]
    if experiment.oracles and Path(paths.metrics()).exists():
        lines.append(_agreement(Path(paths.metrics()), method))
    made = [path for path in (paths.rankings(), paths.figure(), paths.metrics()) if Path(path).exists()]
    return [line for line in [*lines, f"See {', '.join(made)}."] if line], health_notes(experiment)


def _first_groups(rankings: Path, method: str) -> str:
    """The number of queries that the method ranks each group first for; ties are counted together."""
    firsts: Counter[str] = Counter()
    queries = set()
    with rankings.open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            if row["method"] == method:
                queries.add(row["query"])
                firsts.update([row["group"]] if row["rank"] == "1" else [])
    named = [f"{group} ({count})" for group, count in firsts.most_common(NAMED)]
    others = firsts.total() - sum(count for _, count in firsts.most_common(NAMED))
    tied = len(queries) - firsts.total()
    named += [f"others ({others})"] * bool(others) + [f"ties ({tied})"] * bool(tied)
    return f"{len(queries)} queries ranked. {method} ranks first: {', '.join(named)}."


def _agreement(metrics: Path, method: str) -> str:
    """How often the method's first group is the oracle's, and how often another oracle seed's is."""
    with metrics.open(encoding="utf-8", newline="") as table:
        top1 = {row["method"]: f"{float(row['top1']):.0%}" for row in csv.DictReader(table) if row["top1"]}
    if method not in top1:
        return ""
    ceiling = f"; another retraining agrees with it for {top1['ceiling']}" if "ceiling" in top1 else ""
    return f"Retraining ranks the same group first for {top1[method]} of them{ceiling}."
