"""The exemplar test: models fine-tuned on a few images of one group generate the queries; how high is it ranked?

Ground truth without an oracle (Wang et al. 2023, "Evaluating data attribution for text-to-image models"). Torch-free.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from guda.core.errors import ConfigError, DataError, nearest_name
from guda.core.paths import BASE, group_file, tuned_model
from guda.core.seeding import chosen
from guda.data.queries import EXEMPLARS_OF
from guda.plan.config import MAX_QUERIES_PER_BUCKET
from guda.plan.reports import rankings_spec
from guda.specs import ExemplarQueriesSpec, ExemplarsSpec, QueriesSpec, TunedSpec

if TYPE_CHECKING:
    import pandas as pd

    from guda.plan.experiment import Experiment


def check_exemplars(experiment: Experiment) -> None:
    """Raise ConfigError or DataError if a group does not exist or has too few exemplars."""
    if experiment.query_source != "exemplars":
        return
    settings, buckets = experiment.config.queries.exemplars, experiment.config.queries.buckets
    for group in settings.groups or []:
        if group not in experiment.groups:
            names = list(experiment.groups)
            raise ConfigError(f"queries.exemplars.groups: no group {group!r}; {nearest_name(group, names)}")
    for group, own in of_one_group(experiment).items():
        if len(own) < settings.images:
            raise DataError(
                f"queries.exemplars.images is {settings.images}, but group {group!r} has {len(own)} image(s) that are "
                "in no other group; ask for fewer, or name other groups in queries.exemplars.groups"
            )
    count = settings.count * len(tuned_groups(experiment))
    if count > MAX_QUERIES_PER_BUCKET * buckets:
        raise ConfigError(
            f"queries.exemplars.count {settings.count} makes {count} queries, too many for {buckets} bucket(s); set "
            f"queries.buckets to {math.ceil(count / MAX_QUERIES_PER_BUCKET)} or more"
        )


def tuned_groups(experiment: Experiment) -> list[str]:
    """The groups that a model is fine-tuned on, sorted by name."""
    named = experiment.config.queries.exemplars.groups
    return sorted(experiment.groups if named is None else named)


def of_one_group(experiment: Experiment) -> dict[str, list[str]]:
    """Ids of each group's images that are in no other group, so that their source is unambiguous."""
    times = Counter(member for members in experiment.groups.values() for member in members)
    groups = tuned_groups(experiment)
    return {group: [member for member in experiment.groups[group] if times[member] == 1] for group in groups}


@lru_cache(maxsize=1)  # a pass over all groups
def exemplars(experiment: Experiment) -> dict[str, list[str]]:
    """Ids of the images that each group's model is fine-tuned on, chosen among its own by a hash of (seed, id)."""
    settings = experiment.config.queries.exemplars
    own = of_one_group(experiment)
    rows = {group: chosen(ids, settings.images, "exemplar", settings.seed) for group, ids in own.items()}
    return {group: [own[group][row] for row in found] for group, found in rows.items()}


def tuned_spec(experiment: Experiment, group: str) -> TunedSpec:
    """Spec of the model fine-tuned on exemplars of the group."""
    return TunedSpec(
        base=experiment.model_digest(BASE),
        images=experiment.images_digest,
        exemplars=exemplars(experiment)[group],
        noise_schedule=experiment.config.noise_schedule,
        training=experiment.config.queries.exemplars.training,
    )


@lru_cache(maxsize=1)
def groups_of_queries(experiment: Experiment) -> dict[str, str]:
    """The group that each query's model was fine-tuned on; ids do not depend on the number of queries."""
    count = experiment.config.queries.exemplars.count
    return {f"{group_file(group)}-{index:04d}": group for group in tuned_groups(experiment) for index in range(count)}


def known_of_exemplar_queries(experiment: Experiment) -> pd.DataFrame:
    """A row per query, with its group."""
    import pandas as pd

    groups = groups_of_queries(experiment)
    return pd.DataFrame({"query": list(groups), EXEMPLARS_OF: list(groups.values())})


def exemplar_queries_spec(experiment: Experiment, bucket: str) -> ExemplarQueriesSpec:
    """Spec of a bucket of queries: what each fine-tuned model generates for it."""
    queries, ids = experiment.config.queries, experiment.buckets[bucket]
    shared = {"noise_schedule": experiment.config.noise_schedule, "seed": queries.seed}
    shared |= {"sampler": queries.sampler, "sampling_steps": queries.sampling_steps}
    of_groups: dict[str, list[str]] = {}
    for query in ids:
        of_groups.setdefault(groups_of_queries(experiment)[query], []).append(query)
    names = {group: tuned_model(queries.name, group) for group in of_groups}
    return ExemplarQueriesSpec(
        of_groups={
            group: QueriesSpec(base=experiment.model_digest(names[group]), ids=own, **shared)
            for group, own in of_groups.items()
        }
    )


def generators(experiment: Experiment, bucket: str) -> list[str]:
    """Names of the models that generate a bucket of queries."""
    if experiment.query_source != "exemplars":
        return [BASE]
    spec = exemplar_queries_spec(experiment, bucket)
    return [tuned_model(experiment.config.queries.name, group) for group in spec.of_groups]


def exemplars_spec(experiment: Experiment) -> ExemplarsSpec:
    metrics = experiment.config.metrics
    return ExemplarsSpec(
        rankings=rankings_spec(experiment).digest(),
        query_table=experiment.query_table_spec().digest(),
        methods=[experiment.table_name(name) for name in experiment.score_names],
        files={experiment.table_name(name): name for name in experiment.score_names},
        bootstrap_samples=metrics.bootstrap_samples,
        seed=metrics.seed,
    )
