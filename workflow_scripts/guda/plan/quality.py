"""Is the base model any good? Specs and files of the tables and figures that say so, and what they say to the plan.

Torch-free, like the rest of what plans.
"""

from __future__ import annotations

import contextlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from guda.core.artifacts import read_csv
from guda.core.errors import ArtifactError
from guda.core.paths import BASE, CALIBRATION, TRAINING, record_of
from guda.core.records import check_recorded, read_record
from guda.core.spec import digest
from guda.evaluation.quality import EMBEDDING
from guda.evaluation.two_sample import FEWEST, MOST
from guda.methods import get_method
from guda.methods.counterfactual.plan import CounterfactualSpec, RepeatedSpec, Unlearned
from guda.models.quality import base_remark
from guda.plan.precomputed import features_spec
from guda.specs import CurvesFigureSpec, CurvesSpec, QualitySpec, SamplesFigureSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

SHOWN = 64  # generated images on the contact sheet


def unlearning_methods(experiment: Experiment) -> dict[str, list[CounterfactualSpec]]:
    """The configured methods that unlearn groups, with the specs of their runs."""
    found = {}
    for name in experiment.config.methods:
        spec = experiment.method_spec(name)
        if isinstance(get_method(name), Unlearned) and isinstance(spec, CounterfactualSpec | RepeatedSpec):
            found[name] = list(spec.runs)
    return found


@lru_cache(maxsize=1)  # asked for again and again while the workflow plans
def quality_spec(experiment: Experiment) -> QualitySpec:
    models: dict[str, str] = {}
    groups: dict[str, str] = {}
    terms: dict[str, str] = {}
    models_of: dict[str, list[str]] = {}
    for method, runs in unlearning_methods(experiment).items():
        for run in runs:
            names = run.model_names
            models |= {name: run.models[group] for group, name in names.items()}
            groups |= {name: group for group, name in names.items()}
            if run.calibration is not None:
                models_of.setdefault(method, []).extend(names.values())
                scored = {BASE: run.base} | {name: run.models[group] for group, name in names.items()}
                terms |= {name: run.elbo_digest(model, run.calibration) for name, model in scored.items()}
    unseen = reason_against_features(experiment)
    return QualitySpec(
        base=experiment.model_digest(BASE),
        models=models,
        groups=groups,
        models_of=models_of,
        scores={method: experiment.method_spec(method).digest() for method in models_of},
        terms=terms,
        members={group: experiment.group_digest(group) for group in experiment.groups} if terms else {},
        features={} if unseen else {name: features_spec(experiment, name).digest() for name in compared(experiment)},
        unseen=unseen,
    )


def quality_files(experiment: Experiment) -> list[str]:
    """What the table of quality reads."""
    spec, paths = quality_spec(experiment), experiment.paths
    files = [*map(paths.model_record, [BASE, *spec.models]), *map(paths.scores_record, spec.scores)]
    files += [paths.elbo(model, CALIBRATION) for model in spec.terms]
    files += [paths.features(EMBEDDING, images) for images in spec.features]
    return [*files, *map(paths.group, spec.members)]


def reason_against_features(experiment: Experiment) -> str:
    """Why generated images are not compared with training images; '': they are."""
    config = experiment.config
    embedding, last = config.attribution.embedding, config.noise_schedule.num_train_timesteps - 1
    if experiment.given_queries is not None:
        return "the queries are given, so there are no generated images to compare with training images"
    if min(len(experiment.queries), len(experiment.dataset.table) // 2) < FEWEST:
        return f"fewer than {FEWEST} generated or {2 * FEWEST} training images, too few to compare"
    if embedding.model is None and config.text_to_image is None and config.unet.mid_block_type is None:
        return "the network has no middle block to compare images by; name a model in attribution.embedding.model"
    if embedding.model is None and embedding.step > last:
        return f"attribution.embedding.step is {embedding.step}, after the noise schedule's last, {last}"
    return ""


def compared(experiment: Experiment) -> list[str]:
    """The sets of images that are: the training images, and as many buckets as it takes for MOST queries."""
    return [TRAINING, *first_buckets(experiment, MOST)]


def first_buckets(experiment: Experiment, count: int) -> list[str]:
    """As many buckets of queries as it takes for so many queries, or all."""
    found, have = [], 0
    for bucket, ids in experiment.buckets.items():
        if have < count:
            found.append(bucket)
            have += len(ids)
    return found


def curves_spec(experiment: Experiment) -> CurvesSpec:
    spec = quality_spec(experiment)
    return CurvesSpec(models={BASE: spec.base} | spec.models)


def curves_figure_spec(experiment: Experiment) -> CurvesFigureSpec:
    return CurvesFigureSpec(curves=curves_spec(experiment).digest())


def samples_figure_spec(experiment: Experiment) -> SamplesFigureSpec:
    return SamplesFigureSpec(
        images=experiment.images_digest,
        buckets={bucket: experiment.bucket_digest(bucket) for bucket in first_buckets(experiment, SHOWN)},
        generated=experiment.given_queries is None,
    )


def quality_notes(experiment: Experiment) -> list[str]:
    """What the user should know of the base model, by the table that is there; nothing where it is of another one."""
    table, spec = experiment.on_disk.quality(), quality_spec(experiment)
    with contextlib.suppress(ArtifactError):
        text = read_record(record_of(table))["spec"]
        made = json.loads(text)
        if (made.get("base"), made.get("features")) == (spec.base, spec.features):  # whatever the unlearned ones are
            check_recorded(table, digest(text))
            rows: Any = read_csv(table, numbers=("n_generated", "precision", "precision_floor", "falls"))
            remark = base_remark(rows[rows["model"] == BASE].iloc[0])
            return [f"base model: {remark}"] if remark else []
    return []
