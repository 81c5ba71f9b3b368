"""Notes for the plan from existing records: unhealthy models and groups that were barely forgotten."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from guda.core.errors import ArtifactError
from guda.core.paths import BASE
from guda.core.records import read_record
from guda.methods import get_method
from guda.models import forgetting
from guda.models.health import describe, healths, of_record
from guda.plan.quality import quality_notes
from guda.plan.reports import retrained_models

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


def health_notes(experiment: Experiment) -> list[str]:
    """Notes from the records of existing models, one sentence for each set of models that a result depends on.

    Records that cannot be read, or belong to models that will be retrained, are ignored.
    """
    records: dict[str, dict[str, Any]] = {}

    def read(models: dict[str, str]) -> dict[str, dict[str, Any]]:
        for name in models.keys() - records.keys():
            records[name] = {}
            with contextlib.suppress(ArtifactError):
                records[name] = read_record(experiment.on_disk.model_record(name), models[name])
        return {name: records[name] for name in models}

    titles: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name in [*experiment.score_names, *experiment.variants]:
        models = get_method(name).judged(experiment.method_spec(name))
        titles.setdefault(tuple(models.items()), []).append(experiment.table_name(name))
    for title, names in retrained_models(experiment).items():
        titles[tuple((name, experiment.model_digest(name)) for name in [BASE, *names])] = [title]
    (base,) = read({BASE: experiment.model_digest(BASE)}).values()
    found = describe("base model", {BASE: of_record(base, {})} if "health" in base else {})
    for judged, named in titles.items():
        found += describe(", ".join(named), healths(read(dict(judged))))
    return [*quality_notes(experiment), *found, *_forgetting_notes(experiment)]


def _forgetting_notes(experiment: Experiment) -> list[str]:
    """Notes from the records of scores, which say how far each group was forgotten."""
    found = []
    for name in [*experiment.score_names, *experiment.variants]:
        with contextlib.suppress(ArtifactError):
            record = read_record(experiment.on_disk.scores_record(name), experiment.method_spec(name).digest())
            found += forgetting.describe(name, record.get("forgetting", {}))
    return found
