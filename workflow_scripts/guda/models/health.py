"""Whether models are fit for what they are asked: how well each still predicts, by itself and against the base model.

Every model's record has `health`: its `loss` on a few training images that it was to retain, as a share of the loss of
predicting nothing (see `guda.scoring.probe`). A counterfactual knows nothing of its group, but the rest as well as the
base model does, so the two are compared on the same images, diffusion steps and noise. What is made from the base model
has `base_loss` and the `ratio` of both; what is not has `errors`, one an image, which give the ratio as soon as both
records are there. Records from before health was measured have none of this. Torch-free: the workflow plans with it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from guda.core.paths import BASES
from guda.core.records import read_record
from guda.specs import ModelSpec

if TYPE_CHECKING:
    from guda.core.paths import Paths

# Times the base model's loss on what a counterfactual retains: of the digits' models, those that work have 0.9 to 1.3,
# those that diverged 5 and more. Between 2 and 3 the likelihood bound of retained images is twice the base model's.
MUCH_WORSE = 2.0
USELESS = 0.9  # of the loss of predicting nothing
NAMED = 5  # models in one sentence
PROBES = 64  # training images that a model is measured on
# A model of all images is measured on more of them, so that some are among those that any other retains.
SHARED = 4
BATCH_SIZE = 16  # of them at a time


class Health(NamedTuple):
    """Of one model: `loss` (1 is that of predicting nothing), `ratio` to the base model's, if known; who made it."""

    loss: float
    ratio: float | None
    stage: str

    @property
    def poor(self) -> bool:
        """Whether it is much worse than the base model, or of no use where that is of some."""
        if self.ratio is None:
            return self.loss >= USELESS
        return self.ratio >= MUCH_WORSE or self.loss >= USELESS > self.loss / self.ratio


def ratio(model: dict[str, Any], base: dict[str, Any]) -> float | None:
    """How many times the base model's loss a model's is, on images that it retains, from the `health` of both records.

    None where that cannot be told: no image is common to both, or the base model's record is an older one.
    """
    if "ratio" in model:
        return model["ratio"]
    errors, before = model.get("errors", {}), base.get("errors", {})
    common = [name for name in errors if name in before]  # in one order, so that the sums are the same in each run
    return sum(errors[name] for name in common) / sum(before[name] for name in common) if common else None


def warn(found: dict[str, Any], spec: ModelSpec) -> None:
    """Say on stderr what is wrong with a model that was just made, if anything is."""
    health = Health(found["loss"], found.get("ratio"), spec.stage)
    if health.poor:
        print(f"warning: this model {_complaint(health)}. {_cure([health])}", file=sys.stderr, flush=True)


def healths(records: dict[str, dict[str, Any]]) -> dict[str, Health]:
    """Health of models from their records by name, against that of the base model, or of an oracle's own, among them.

    A base model's own is not among what is returned, nor that of models whose records tell none.
    """
    bases = [name for name in records if re.fullmatch(BASES, name)]
    base = records[bases[0]].get("health", {}) if bases else {}
    told = {name: record for name, record in records.items() if name not in bases and "health" in record}
    return {name: of_record(record, base) for name, record in told.items()}


def of_record(record: dict[str, Any], base: dict[str, Any]) -> Health:
    """Health of the model whose record has one, against that of the base model's record, {}: against none."""
    found = record["health"]
    return Health(found["loss"], ratio(found, base), json.loads(record["spec"])["stage"])


def read_healths(paths: Paths, models: dict[str, str]) -> dict[str, Health]:
    """The same of models by name with the digests of their specs.

    Raises ArtifactError for a record that is missing, damaged or of another spec.
    """
    return healths({name: read_record(paths.model_record(name), digest) for name, digest in models.items()})


def summary(found: dict[str, Health]) -> dict[str, float]:
    """Median and worst ratio of a method's models, by the columns of tables; nothing where none is known."""
    ratios = [health.ratio for health in found.values() if health.ratio is not None]
    return {"health_median": float(np.median(ratios)), "health_worst": max(ratios)} if ratios else {}


def worst_of(ratios: Iterable[float | None]) -> float:
    """The largest of some ratios that is known (None, NaN: unknown); NaN where none is."""
    return float(np.fmax.reduce(np.array(list(ratios), dtype=float), initial=np.nan))


def warn_of(title: str, found: dict[str, Health]) -> None:
    """Say on stderr what `describe` finds."""
    for sentence in describe(title, found):
        print(f"warning: {sentence}", file=sys.stderr, flush=True)


def describe(title: str, found: dict[str, Health]) -> list[str]:
    """What the user should know of some models under a title: nothing, or one sentence that names the worst."""
    poor = {name: health for name, health in found.items() if health.poor}
    if not poor:
        return []
    worst = sorted(poor, key=lambda name: -max(poor[name].ratio or 0, poor[name].loss))[:NAMED]
    named = "; ".join(f"{name} {_complaint(poor[name])}" for name in worst)
    more = f"; and {len(poor) - NAMED} more" if len(poor) > NAMED else ""
    return [f"{title}: {len(poor)} of {len(found)} models not to be trusted: {named}{more}. {_cure(poor.values())}"]


def _complaint(health: Health) -> str:
    if health.ratio is not None and health.ratio >= MUCH_WORSE:
        return f"has {health.ratio:.3g} times the base model's loss on images that it retains"
    return f"predicts no better than nothing would (its loss is {health.loss:.3g} of that)"


def _cure(poor: Iterable[Health]) -> str:
    known = {kind.stage: kind.cure for kind in _kinds_of(ModelSpec) if "stage" in vars(kind)}
    cures = "; ".join(known[stage] for stage in dict.fromkeys(health.stage for health in poor))
    return f"{cures[0].upper()}{cures[1:]}."


def _kinds_of(kind: type[ModelSpec]) -> list[type[ModelSpec]]:
    """All kinds of specs that derive from one."""
    return [each for derived in kind.__subclasses__() for each in (derived, *_kinds_of(derived))]
