"""Evaluation by retraining as the workflow sees it: specs and files of the LDS and of counterfactual removal.

Torch-free, like the rest of what plans.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guda.artifacts import read_csv
from guda.attribution import get_method
from guda.attribution.instance import InstanceLevel
from guda.errors import ConfigError, DataError
from guda.lds import n_kept
from guda.paths import BASE, subset_model
from guda.records import check_recorded
from guda.specs import LdsSpec, RemovalFigureSpec, RemovalSetsSpec, RemovalSpec

if TYPE_CHECKING:
    from guda.experiment import Experiment


def check_evaluation(experiment: Experiment) -> None:
    """Raise ConfigError or DataError where `lds` or `removal` asks for what cannot be kept, removed or trained on."""
    _check_lds(experiment)
    _check_removal(experiment)


def _check_lds(experiment: Experiment) -> None:
    lds, n_groups = experiment.config.lds, len(experiment.groups)
    if not lds.subsets:
        return
    kept = n_kept(list(experiment.groups), lds)
    if not 0 < kept < n_groups:
        raise ConfigError(f"lds.alpha {lds.alpha} keeps {kept} of {n_groups} groups; choose one that keeps some")
    ways = math.comb(n_groups, kept)
    if lds.subsets > ways:
        raise ConfigError(
            f"lds.subsets is {lds.subsets}, but {kept} of {n_groups} groups can be kept in {ways} ways only; "
            "ask for fewer"
        )
    for index, groups in enumerate(experiment.left_out_groups):
        left_out = set().union(*(experiment.groups[group] for group in groups))
        if len(left_out) == len(experiment.dataset.table):
            raise DataError(f"lds: subset {index} leaves no training image; raise lds.alpha")


def _check_removal(experiment: Experiment) -> None:
    removal = experiment.config.removal
    if not removal.queries:
        return
    counts = {"groups": len(experiment.groups), "images": len(experiment.dataset.table)}
    for key, count in counts.items():
        largest = max(getattr(removal, key), default=0)
        if largest >= count:
            raise ConfigError(f"removal.{key}: {largest} of {count} {key} cannot be removed; name smaller numbers")
    if removal.images and not instance_level(experiment):
        raise ConfigError(
            "removal.images: none of the methods scores single training images; add one that does, such as nearest, "
            "to `methods`, or leave it empty"
        )


def reported(experiment: Experiment) -> list[str]:
    """Names in the tables of the oracle that is reported against, and of the methods."""
    return [experiment.table_name(experiment.oracles[0]), *experiment.config.methods]


def instance_level(experiment: Experiment) -> list[str]:
    """The methods that score single training images."""
    return [name for name in experiment.config.methods if isinstance(get_method(name), InstanceLevel)]


def subset_models(experiment: Experiment) -> list[str]:
    """Names of the models that are trained on random subsets of the groups."""
    lds = experiment.config.lds
    return [subset_model(lds.seed, index) for index in range(lds.subsets)]


def lds_spec(experiment: Experiment) -> LdsSpec:
    return LdsSpec(
        rankings=experiment.rankings_spec().digest(),
        methods=reported(experiment),
        groups=list(experiment.groups),
        models=[experiment.model_digest(model) for model in subset_models(experiment)],
        buckets=experiment.bucket_digests(),
        elbo=experiment.elbo_settings,
        settings=experiment.config.lds,
        bootstrap_samples=experiment.config.metrics.bootstrap_samples,
        bootstrap_seed=experiment.config.metrics.seed,
    )


def removal_sets_spec(experiment: Experiment) -> RemovalSetsSpec:
    return RemovalSetsSpec(
        rankings=experiment.rankings_spec().digest(),
        images=experiment.images_digest,
        members={group: experiment.group_digest(group) for group in experiment.groups},
        methods=reported(experiment),
        instance_level=instance_level(experiment),
        oracle_seed=experiment.config.oracle.seeds[0],
        settings=experiment.config.removal,
    )


def removal_sets_files(experiment: Experiment) -> list[str]:
    """What the choice of what to remove reads."""
    paths = experiment.paths
    files = [paths.rankings(), paths.images(), *map(paths.group, experiment.groups)]
    if experiment.config.removal.images:
        files += [file for name in instance_level(experiment) for file in experiment.method_files(name)]
    return list(dict.fromkeys(files))


def removal_spec(experiment: Experiment) -> RemovalSpec:
    generation = None
    if experiment.given_queries is None:
        queries = experiment.bucket_spec(next(iter(experiment.buckets)))
        generation = queries.model_copy(update={"base": "", "ids": []})
    return RemovalSpec(
        sets=removal_sets_spec(experiment).digest(),
        base=experiment.model_digest(BASE),
        train=experiment.train_spec(experiment.config.oracle.seeds[0], None),
        members={group: experiment.group_digest(group) for group in experiment.groups},
        buckets=experiment.bucket_digests(),
        elbo=experiment.elbo_settings,
        generation=generation,
        bootstrap_samples=experiment.config.metrics.bootstrap_samples,
        bootstrap_seed=experiment.config.metrics.seed,
    )


def removal_files(experiment: Experiment) -> list[str]:
    """What counterfactual removal measures, once it is chosen what to remove. Raises ArtifactError."""
    paths = experiment.paths
    check_recorded(paths.removal_sets(), removal_sets_spec(experiment).digest())
    models = list(read_csv(paths.removal_sets())["model"].unique())
    files = [paths.elbo(model, bucket) for model in [BASE, *models] for bucket in experiment.buckets]
    if experiment.given_queries is None:
        files += [paths.regenerated(model, bucket) for model in models for bucket in experiment.buckets]
    return [*map(paths.queries, experiment.buckets), *files]


def removal_figure_spec(experiment: Experiment) -> RemovalFigureSpec:
    return RemovalFigureSpec(removal=removal_spec(experiment).digest())
