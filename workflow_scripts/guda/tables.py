"""The tables of all methods as the workflow sees them: specs of rankings, of what is measured on them, of the figure.

Torch-free, like the rest of what plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.specs import FigureSpec, MetricsSpec, RankingsSpec, SignificanceSpec, SourcesSpec

if TYPE_CHECKING:
    from guda.experiment import Experiment


def rankings_spec(experiment: Experiment) -> RankingsSpec:
    return RankingsSpec(
        scores={experiment.table_name(name): experiment.method_spec(name).digest() for name in experiment.score_names},
        files={experiment.table_name(name): name for name in experiment.score_names},
        queries=experiment.bucket_digests(),
    )


def metrics_spec(experiment: Experiment) -> MetricsSpec:
    return MetricsSpec(
        rankings=rankings_spec(experiment).digest(),
        oracles=[experiment.table_name(name) for name in experiment.oracles],
        methods=experiment.config.methods,
        files={experiment.table_name(name): name for name in experiment.score_names},
        settings=experiment.config.metrics,
    )


def significance_spec(experiment: Experiment) -> SignificanceSpec:
    settings = experiment.config.metrics
    return SignificanceSpec(
        rankings=rankings_spec(experiment).digest(),
        oracles=[experiment.table_name(name) for name in experiment.oracles],
        methods=experiment.config.methods,
        bootstrap_samples=settings.bootstrap_samples,
        seed=settings.seed,
        decisive_ratio=settings.decisive_ratio,
    )


def knows_contents(experiment: Experiment) -> bool:
    """Whether the queries' own table says what their content is."""
    known = experiment.known_of_queries
    return known is not None and experiment.config.metrics.content in known.columns


def sources_spec(experiment: Experiment) -> SourcesSpec:
    return SourcesSpec(
        metrics=metrics_spec(experiment),
        images=experiment.images_digest,
        table=experiment.dataset.table_spec().digest(),
        members={group: experiment.group_digest(group) for group in experiment.groups},
        buckets=experiment.bucket_digests(),
        query_table=experiment.query_table_spec().digest() if knows_contents(experiment) else None,
    )


def figure_spec(experiment: Experiment) -> FigureSpec:
    return FigureSpec(
        rankings=rankings_spec(experiment).digest(),
        buckets=experiment.bucket_digests(),
        method=experiment.config.methods[0],
        oracle=experiment.table_name(experiment.oracles[0]),
        settings=experiment.config.figure,
    )
