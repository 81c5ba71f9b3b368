"""The page of all answers, and what is computed for it alone: specs and files. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.core.paths import BASE
from guda.data.queries import on_show
from guda.methods.counterfactual.plan import CounterfactualSpec
from guda.plan.quality import curves_spec, quality_spec, unlearning_methods
from guda.plan.reports import metrics_spec, rankings_spec
from guda.specs import MapsSpec, PageSpec, RedrawnSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


def page_spec(experiment: Experiment) -> PageSpec:
    return PageSpec(
        title=experiment.config.queries.name,
        rankings=rankings_spec(experiment).digest(),
        metrics=metrics_spec(experiment).digest() if experiment.oracles else "",
        quality=quality_spec(experiment).digest(),
        curves=curves_spec(experiment).digest(),
        query_table=experiment.query_table_spec().digest(),
        images=experiment.images_digest,
        members={group: experiment.group_digest(group) for group in experiment.groups},
        buckets=experiment.bucket_digests(),
        methods=experiment.config.methods,
        oracles=[experiment.table_name(name) for name in experiment.oracles],
        files={experiment.table_name(name): name for name in experiment.score_names},
        redrawn=redrawn_spec(experiment).digest() if is_redrawn(experiment) else "",
        maps=maps_spec(experiment).digest() if has_maps(experiment) else "",
        unlearned=unlearning_method(experiment),
        settings=experiment.config.page,
    )


def page_files(experiment: Experiment) -> list[str]:
    """What the page reads, but for the records of scores."""
    paths, unlearned = experiment.paths, unlearning_method(experiment)
    files = [paths.rankings(), paths.quality(), paths.curves(), paths.query_table(), paths.images()]
    files += [paths.metrics()] if experiment.oracles else []
    files += [paths.redrawn()] if is_redrawn(experiment) else []
    files += [paths.maps()] if has_maps(experiment) else []
    files += [*map(paths.group, experiment.groups), *map(paths.queries, experiment.buckets)]
    return list(dict.fromkeys([*files, *(experiment.method_files(unlearned) if unlearned else [])]))


def shown_queries(experiment: Experiment, count: int) -> dict[str, list[str]]:
    """The images that the page says more of, by their bucket."""
    ids = set(on_show(experiment.queries, count))
    found = {bucket: [query for query in each if query in ids] for bucket, each in experiment.buckets.items()}
    return {bucket: each for bucket, each in found.items() if each}


def unlearning_method(experiment: Experiment) -> str:
    """The first configured method with a model without each group; '': none has."""
    return next(iter(unlearning_methods(experiment)), "")


def unlearned_run(experiment: Experiment) -> CounterfactualSpec:
    """The spec of a run of this method."""
    return unlearning_methods(experiment)[unlearning_method(experiment)][0]


def unlearned_files(experiment: Experiment) -> list[str]:
    """The files of its models, and of the base model."""
    models = [BASE, *unlearned_run(experiment).model_names.values()]
    return [file for model in models for file in experiment.family.model_files(model).values()]


def has_adapters(experiment: Experiment) -> bool:
    """Whether its models, if any, are adapters of the base model."""
    models = unlearned_run(experiment).model_names.values() if unlearning_method(experiment) else ()
    return any(map(experiment.family.adapted_files, models))


def is_redrawn(experiment: Experiment) -> bool:
    """Whether the page shows images that are drawn again."""
    generated = experiment.query_source == "generated"
    return bool(generated and experiment.config.page.redrawn and unlearning_method(experiment))


def redrawn_spec(experiment: Experiment) -> RedrawnSpec:
    run, settings = unlearned_run(experiment), experiment.config.page
    return RedrawnSpec(
        rankings=rankings_spec(experiment).digest(),
        method=unlearning_method(experiment),
        base=run.base,
        models=run.models,
        model_names=run.model_names,
        queries=[
            experiment.family.generated(bucket).model_copy(update={"ids": ids})
            for bucket, ids in shown_queries(experiment, settings.redrawn).items()
        ],
        groups=settings.groups,
    )


def has_maps(experiment: Experiment) -> bool:
    """Whether the page shows where evidence lies."""
    return bool(experiment.config.page.maps and unlearning_method(experiment))


def maps_spec(experiment: Experiment) -> MapsSpec:
    run, settings = unlearned_run(experiment), experiment.config.page
    shown = shown_queries(experiment, settings.maps)
    return MapsSpec(
        rankings=rankings_spec(experiment).digest(),
        method=unlearning_method(experiment),
        base=run.base,
        models=run.models,
        model_names=run.model_names,
        samples={bucket: experiment.scored_digest(bucket) for bucket in shown},
        ids=[query for ids in shown.values() for query in ids],
        elbo=run.elbo,
        groups=settings.groups,
        noises=settings.noises,
    )
