"""Specs and files of the reported tables and figures, and of their inputs.

Rankings, agreement, LDS, removal, likelihoods and sweeps. Torch-free, like the rest of planning.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from guda.core.artifacts import read_csv
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import BASE
from guda.core.records import check_recorded
from guda.methods import get_method
from guda.methods.counterfactual.plan import CounterfactualSpec, RepeatedSpec
from guda.methods.instance import InstanceLevel
from guda.methods.subsets.plan import GroupValues
from guda.methods.variants import shown_settings
from guda.specs import (
    CostFigureSpec,
    FigureSpec,
    LdsSpec,
    LikelihoodSettings,
    LikelihoodSpec,
    LikelihoodTableSpec,
    MetricsSpec,
    RankingsSpec,
    ReliabilitySpec,
    RemovalFigureSpec,
    RemovalSetsSpec,
    RemovalSpec,
    ScreenSpec,
    SignificanceSpec,
    SourcesSpec,
    SweepFigureSpec,
    SweepSpec,
)

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


def reasons_against(experiment: Experiment) -> dict[str, str]:
    """Every possible table and figure, and why this configuration does not make it; '' if it does."""
    config, paths = experiment.config, experiment.paths
    compared = "" if config.oracle.seeds else "oracle.seeds is [], so nothing is compared with retraining; add a seed"
    removal, sweep = (
        "" if config.removal.queries else "removal.queries is 0",
        "" if experiment.variants else "sweep is empty",
    )
    return {
        paths.rankings(): "",
        paths.figure(): "",
        paths.page(): "",
        paths.group_sizes(): "",
        paths.quality(): "",
        paths.curves(): "",
        paths.curves_figure(): "",
        paths.samples_figure(): "",
        paths.metrics(): compared,
        paths.cost_figure(): compared,
        paths.significance(): compared,
        paths.metrics_by_source(): compared or ("" if config.metrics.content else "metrics.content is null"),
        paths.exemplars(): "" if experiment.query_source == "exemplars" else "queries.source is not exemplars",
        paths.screen(): "" if config.screen else "screen is null",
        paths.reliability(): "" if repeated(experiment) else "no method unlearns with several unlearn.seeds",
        paths.lds(): "" if config.lds.subsets else "lds.subsets is 0",
        paths.removal(): removal,
        paths.removal_figure(): removal,
        paths.sweep(): sweep,
        paths.sweep_figure(): sweep,
        paths.likelihood_table(): "" if config.likelihood.queries else "likelihood.queries is 0",
    }


def final_outputs(experiment: Experiment) -> list[str]:
    """The outputs of a full run, from which everything else follows."""
    return [path for path, reason in reasons_against(experiment).items() if not reason]


def check_asked(experiment: Experiment, words: list[str]) -> None:
    """Raise ConfigError if a command asks for a table or figure that this configuration does not make.

    Some setting disables it, or it belongs to another experiment or another query set: Snakemake would find no rule
    for it, or consider an old file up to date.
    """
    asked_for = [word for before, word in pairwise(["", *words]) if before != "--report"]  # that is a file to write
    for path, reason in reasons_against(experiment).items():
        own, answers = Path(path), experiment.paths.answers
        name = own.relative_to(answers if own.is_relative_to(answers) else experiment.paths.results).parts
        for word in map(Path, asked_for):
            asked = word.parts[-len(name) :] == name
            if asked and word.absolute() != own.absolute():
                raise ConfigError(
                    f"{word}: the results of this configuration are in {own.parents[len(name) - 1]}; ask for {own}"
                )
            if reason and (asked or str(word) == own.stem):
                raise ConfigError(f"{word} is not made by this configuration: {reason}")


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


def cost_figure_spec(experiment: Experiment) -> CostFigureSpec:
    return CostFigureSpec(metrics=metrics_spec(experiment).digest())


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


def repeated(experiment: Experiment) -> list[str]:
    """The methods whose scores are averaged over several seeds of unlearning."""
    return [name for name in experiment.config.methods if isinstance(experiment.method_spec(name), RepeatedSpec)]


def reliability_spec(experiment: Experiment) -> ReliabilitySpec:
    return ReliabilitySpec(
        scores={name: experiment.method_spec(name).digest() for name in repeated(experiment)},
        oracle={name: experiment.method_spec(name).digest() for name in experiment.oracles[:1]},
    )


def reliability_files(experiment: Experiment) -> list[str]:
    """The files that the comparison of individual runs reads."""
    names, oracle, paths = repeated(experiment), experiment.oracles[:1], experiment.paths
    records = map(paths.scores_record, [*names, *oracle])
    files = [file for name in names for file in experiment.method_files(name)]
    return list(dict.fromkeys([*map(paths.scores, oracle), *records, *files]))


def knows_contents(experiment: Experiment) -> bool:
    """Whether the table of queries includes their content."""
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
        oracle=next(map(experiment.table_name, experiment.oracles), ""),
        settings=experiment.config.figure,
    )


def screen_spec(experiment: Experiment) -> ScreenSpec:
    settings = experiment.config.screen
    assert settings is not None
    return ScreenSpec(scores=experiment.method_spec(settings.method).digest(), settings=settings)


def reported(experiment: Experiment) -> list[str]:
    """Names in the tables of the reference oracle, if any, and of the methods."""
    return [*map(experiment.table_name, experiment.oracles[:1]), *experiment.config.methods]


def instance_level(experiment: Experiment) -> list[str]:
    """The methods that score individual training images."""
    return [name for name in experiment.config.methods if isinstance(get_method(name), InstanceLevel)]


def subset_models(experiment: Experiment) -> list[str]:
    """Names of the models trained on random subsets of the groups."""
    return [subset.model for subset in experiment.subsets]


def lds_models(experiment: Experiment) -> list[str]:
    """Names of the models whose ELBOs lds.csv is computed from."""
    return [BASE, *subset_models(experiment)]


def retrained_models(experiment: Experiment) -> dict[str, list[str]]:
    """Names of the models retrained for other purposes than the oracle, as far as they are known, by purpose."""
    found = {"lds": subset_models(experiment)} if experiment.config.lds.subsets else {}
    with contextlib.suppress(ArtifactError):
        if experiment.config.removal.queries:
            found["removal"] = removed_models(experiment)
    return found


def removed_models(experiment: Experiment) -> list[str]:
    """Names of the models for counterfactual removal, once the sets to remove are chosen. Raises ArtifactError."""
    sets = experiment.on_disk.removal_sets()
    check_recorded(sets, removal_sets_spec(experiment).digest())
    return list(read_csv(sets)["model"].unique())


def lds_spec(experiment: Experiment) -> LdsSpec:
    lds = experiment.config.lds
    return LdsSpec(
        rankings=rankings_spec(experiment).digest(),
        base=experiment.model_digest(BASE),
        methods=reported(experiment),
        fitted=[name for name in experiment.config.methods if isinstance(get_method(name), GroupValues)],
        groups=list(experiment.groups),
        subsets=experiment.subsets,
        buckets=experiment.scored_digests(),
        elbo=experiment.elbo_settings,
        sizes=lds.sizes,
        alpha=lds.alpha if lds.sizes == "fixed" else 0.5,
        bootstrap_samples=experiment.config.metrics.bootstrap_samples,
        bootstrap_seed=experiment.config.metrics.seed,
    )


def removal_sets_spec(experiment: Experiment) -> RemovalSetsSpec:
    return RemovalSetsSpec(
        rankings=rankings_spec(experiment).digest(),
        images=experiment.images_digest,
        members={group: experiment.group_digest(group) for group in experiment.groups},
        methods=reported(experiment),
        instance_level=instance_level(experiment),
        oracle_seed=experiment.config.oracle.seeds[0],
        settings=experiment.config.removal,
    )


def removal_sets_files(experiment: Experiment) -> list[str]:
    """The files that the sets to remove are chosen from."""
    paths = experiment.paths
    files = [paths.rankings(), paths.images(), *map(paths.group, experiment.groups)]
    if experiment.config.removal.images:
        files += [file for name in instance_level(experiment) for file in experiment.method_files(name)]
    return list(dict.fromkeys(files))


def removal_spec(experiment: Experiment) -> RemovalSpec:
    return experiment.family.removal_spec(
        sets=removal_sets_spec(experiment).digest(),
        base=experiment.model_digest(BASE),
        train=experiment.family.trained(experiment.config.oracle.seeds[0], None),
        members={group: experiment.group_digest(group) for group in experiment.groups},
        buckets=experiment.bucket_digests(),
        elbo=experiment.elbo_settings,
        bootstrap_samples=experiment.config.metrics.bootstrap_samples,
        bootstrap_seed=experiment.config.metrics.seed,
    )


def removal_files(experiment: Experiment) -> list[str]:
    """The files of counterfactual removal, once the sets to remove are chosen. Raises ArtifactError."""
    paths = experiment.paths
    models = removed_models(experiment)
    files = [paths.elbo(model, bucket) for model in [BASE, *models] for bucket in experiment.buckets]
    files += map(paths.model_record, [BASE, *models])
    if experiment.query_source == "generated":
        files += [paths.regenerated(model, bucket) for model in models for bucket in experiment.buckets]
    return [*map(paths.queries, experiment.buckets), *files]


def removal_figure_spec(experiment: Experiment) -> RemovalFigureSpec:
    return RemovalFigureSpec(removal=removal_spec(experiment).digest())


def likelihood_spec(experiment: Experiment, model: str) -> LikelihoodSpec:
    sections = experiment.config.likelihood.model_dump(exclude={"groups"})
    return LikelihoodSpec(
        model=experiment.model_digest(model),
        buckets=experiment.scored_digests(),
        settings=LikelihoodSettings(noise_schedule=experiment.config.noise_schedule, **sections),
    )


def likelihood_models(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Models of the groups to compare, by method: the first oracle's, and those of uncalibrated methods.

    A calibrated method's scores are not plain differences between its models, and an oracle with its own base model
    has no differences from the base model.
    """
    groups, found = experiment.config.likelihood.groups or list(experiment.groups), {}
    for name in [*experiment.oracles[:1], *experiment.config.methods]:
        spec = experiment.method_spec(name)
        if isinstance(spec, CounterfactualSpec) and spec.calibration is None and spec.base_name == BASE:
            found[name] = {group: spec.model_names[group] for group in groups}
    return found


def likelihood_table_spec(experiment: Experiment) -> LikelihoodTableSpec:
    models = likelihood_models(experiment)
    names = [BASE, *(name for of_method in models.values() for name in of_method.values())]
    return LikelihoodTableSpec(
        methods=[experiment.table_name(name) for name in models],
        scores={experiment.table_name(name): experiment.method_spec(name).digest() for name in models},
        files={experiment.table_name(name): name for name in models},
        models={experiment.table_name(name): of_groups for name, of_groups in models.items()},
        likelihoods={name: likelihood_spec(experiment, name).digest() for name in names},
        bootstrap_samples=experiment.config.metrics.bootstrap_samples,
        seed=experiment.config.metrics.seed,
    )


def sweep_spec(experiment: Experiment) -> SweepSpec:
    return SweepSpec(
        scores={name: experiment.method_spec(name).digest() for name in [*experiment.oracles, *experiment.variants]},
        oracles=experiment.oracles,
        methods={name: variant.method for name, variant in experiment.variants.items()},
        variants=shown_settings(experiment.config, list(experiment.variants.values())),
        metrics=experiment.config.metrics,
    )


def sweep_figure_spec(experiment: Experiment) -> SweepFigureSpec:
    return SweepFigureSpec(sweep=sweep_spec(experiment).digest())
