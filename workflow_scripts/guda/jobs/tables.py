"""The tables computed from files under results by kind of spec, for `make_table.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from guda.core.artifacts import load_tensors, read_csv, unpack_ids
from guda.core.paths import Paths
from guda.core.records import check_recorded, read_record
from guda.data.groups import group_sizes, read_members
from guda.evaluation.exemplars import exemplars_csv
from guda.evaluation.lds import lds_csv
from guda.evaluation.likelihood_table import likelihood_csv
from guda.evaluation.metrics_table import (
    VOTERS,
    metrics_csv,
    metrics_table,
    read_costs,
    read_score_matrices,
    sources_of_content,
    vote,
)
from guda.evaluation.quality import curves_csv, quality_csv
from guda.evaluation.ranking import rankings_csv
from guda.evaluation.reliability import reliability_table
from guda.evaluation.removal import removal_csv
from guda.evaluation.scores import read_scores
from guda.evaluation.screen import screen_csv
from guda.evaluation.significance import significance_csv
from guda.evaluation.sweep import sweep_csv
from guda.methods import method_of
from guda.methods.counterfactual.plan import Unlearned
from guda.methods.similarity.compute import similarities
from guda.specs import (
    CurvesSpec,
    ExemplarsSpec,
    GroupSizesSpec,
    LatentRemovalSpec,
    LdsSpec,
    LikelihoodTableSpec,
    MetricsSpec,
    QualitySpec,
    RankingsSpec,
    ReliabilitySpec,
    RemovalSpec,
    ScreenSpec,
    SignificanceSpec,
    SourcesSpec,
    Spec,
    SweepSpec,
)


def group_sizes_csv(spec: GroupSizesSpec, paths: Paths) -> pd.DataFrame:
    """groups.csv: the number of training images of each group, and of those in no other. Raises ArtifactError."""
    return group_sizes({group: read_members(paths.group(group), expected) for group, expected in spec.members.items()})


def sources_csv(spec: SourcesSpec, paths: Paths) -> pd.DataFrame:
    """metrics_by_source.csv: metrics for queries whose content has a single source group, and for shared contents.

    Raises ArtifactError.
    """
    metrics = spec.metrics
    check_recorded(paths.table(), spec.table)
    table = read_csv(paths.table())
    groups = {group: read_members(paths.group(group), expected) for group, expected in spec.members.items()}
    sources = sources_of_content(table, str(metrics.settings.content), groups)
    content_of = contents_of_queries(spec, paths, table)
    queries, matrices = read_score_matrices(paths.rankings(), metrics.rankings)
    source = np.array([sources.get(content_of[query], "none") for query in queries])
    costs, tables = read_costs(metrics.rankings, metrics.files, paths), []
    for name in sorted(set(source), reverse=True):
        rows = metrics_table(matrices, metrics.oracles, metrics.methods, costs, metrics.settings, source == name)
        rows.insert(0, "source", name)
        tables.append(rows)
    return pd.concat(tables)


def contents_of_queries(spec: SourcesSpec, paths: Paths, table: pd.DataFrame) -> dict[str, str]:
    """Each query's content: from its own table, else the majority among its nearest training images."""
    content = spec.metrics.settings.content
    found: dict[str, Any] = {}
    images = load_tensors(paths.images(), spec.images, "np")[0]["images"]
    for bucket, expected in spec.buckets.items():
        tensors, _ = load_tensors(paths.queries(bucket), expected, "np")
        blocks = similarities(tensors["images"], images, "euclidean")
        nearest = [np.argsort(-similar, kind="stable")[:VOTERS] for block in blocks for similar in block]
        winners = vote(np.stack(nearest), table[content].to_numpy())
        found |= dict(zip(unpack_ids(tensors["ids"]), winners, strict=True))
    if spec.query_table is not None:
        check_recorded(paths.query_table(), spec.query_table)
        known = read_csv(paths.query_table())
        found |= {query: value for query, value in zip(known["query"], known[content], strict=True) if value}
    return found


def reliability_csv(spec: ReliabilitySpec, paths: Paths) -> pd.DataFrame:
    """reliability.csv: each single run of a method against its other runs and the oracle. Raises ArtifactError."""
    oracles = [read_scores(paths.scores(name), expected) for name, expected in spec.oracle.items()]
    tables = []
    for name, expected in spec.scores.items():
        method = method_of(Unlearned, name)
        averaged = method.parse(read_record(paths.scores_record(name), expected)["spec"])
        runs = [method.scores(run, paths) for run in averaged.runs]
        frames = [pd.DataFrame(each.score, each.queries, each.groups) for each in oracles]
        of_oracle = [frame.loc[runs[0].queries, runs[0].groups].to_numpy() for frame in frames]
        table = reliability_table(runs, *of_oracle)
        table.insert(0, "method", name)
        tables.append(table)
    return pd.concat(tables)


TABLES: dict[type[Spec], Callable[[Any, Paths], pd.DataFrame | Iterator[pd.DataFrame]]] = {
    GroupSizesSpec: group_sizes_csv,
    RankingsSpec: rankings_csv,
    MetricsSpec: metrics_csv,
    SourcesSpec: sources_csv,
    SignificanceSpec: significance_csv,
    ExemplarsSpec: exemplars_csv,
    ScreenSpec: screen_csv,
    ReliabilitySpec: reliability_csv,
    QualitySpec: quality_csv,
    CurvesSpec: curves_csv,
    LdsSpec: lds_csv,
    RemovalSpec: removal_csv,
    LatentRemovalSpec: removal_csv,
    SweepSpec: sweep_csv,
    LikelihoodTableSpec: likelihood_csv,
}
