"""Model health: how well each model still predicts, on its own and relative to the base model.

Every model's record has `health`: its `loss` on a few training images that it should retain, relative to the loss of
predicting nothing (see `guda.scoring.probe`). A counterfactual model lacks its group but should know the rest as well
as the base model, so the two are compared on the same images, diffusion steps and noise. Models made from the base
model have `base_loss` and the `ratio` of both; others have `errors`, one per image, which give the ratio once both
records exist. Records older than health measurements have none of this. Torch-free: the workflow plans with it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from guda.core.paths import BASE_PROXY, BASES, is_proxy
from guda.core.records import read_record
from guda.specs import ModelSpec

if TYPE_CHECKING:
    from guda.core.paths import Paths

# Times the base model's loss on images that a counterfactual model retains: on the digits, working models have 0.9 to
# 1.3, diverged ones 5 and more. Between 2 and 3, the negative ELBO of retained images is twice the base model's.
MUCH_WORSE = 2.0
USELESS = 0.9  # relative to the loss of predicting nothing
NAMED = 5  # models named in one sentence
PROBES = 64  # training images that a model is measured on
# A model of all images is measured on more of them, so that every other model retains some of these.
SHARED = 4
BATCH_SIZE = 16  # images at a time


class Health(NamedTuple):
    """A model's `loss` (1: that of predicting nothing), `ratio` to the base model's, if known, and who made it."""

    loss: float
    ratio: float | None
    stage: str

    @property
    def poor(self) -> bool:
        """Whether it is much worse than the base model, or useless while the base model is not."""
        if self.ratio is None:
            return self.loss >= USELESS
        return self.ratio >= MUCH_WORSE or self.loss >= USELESS > self.loss / self.ratio


def ratio(model: dict[str, Any], base: dict[str, Any]) -> float | None:
    """A model's loss over the base model's, on images that it retains, from the `health` in both records.

    None if unknown: no image is common to both, or the base model's record is an older one.
    """
    if "ratio" in model:
        return model["ratio"]
    errors, before = model.get("errors", {}), base.get("errors", {})
    common = [name for name in errors if name in before]  # in a fixed order, so that sums are reproducible
    return sum(errors[name] for name in common) / sum(before[name] for name in common) if common else None


def warn(found: dict[str, Any], spec: ModelSpec) -> None:
    """Warn on stderr if a model that was just made is unhealthy."""
    health = Health(found["loss"], found.get("ratio"), spec.stage)
    if health.poor:
        print(f"warning: this model {_complaint(health)}. {_cure([health])}", file=sys.stderr, flush=True)


def healths(records: dict[str, dict[str, Any]]) -> dict[str, Health]:
    """Health of models from their records by name, relative to the base model among them, or to an oracle's own.

    Proxies are compared with the proxies' own base model. Leaves out base models, and models whose records lack it.
    """
    bases = [name for name in records if name == BASE_PROXY or re.fullmatch(BASES, name)]
    measured = {name: record for name, record in records.items() if name not in bases and "health" in record}

    def base_of(name: str) -> dict[str, Any]:
        return next((records[base].get("health", {}) for base in bases if is_proxy(base) == is_proxy(name)), {})

    return {name: of_record(record, base_of(name)) for name, record in measured.items()}


def of_record(record: dict[str, Any], base: dict[str, Any]) -> Health:
    """Health from a model's record that has it, relative to the base model's record; {}: relative to none."""
    found = record["health"]
    return Health(found["loss"], ratio(found, base), json.loads(record["spec"])["stage"])


def read_healths(paths: Paths, models: dict[str, str]) -> dict[str, Health]:
    """The same for models by name, with the digests of their specs.

    Raises ArtifactError for a record that is missing, damaged or of another spec.
    """
    return healths({name: read_record(paths.model_record(name), digest) for name, digest in models.items()})


def summary(found: dict[str, Health]) -> dict[str, float]:
    """Median and worst ratio of a method's models, by table column; empty if none is known."""
    ratios = [health.ratio for health in found.values() if health.ratio is not None]
    return {"health_median": float(np.median(ratios)), "health_worst": max(ratios)} if ratios else {}


def worst_of(ratios: Iterable[float | None]) -> float:
    """The largest known ratio (None, NaN: unknown); NaN if none is known."""
    return float(np.fmax.reduce(np.array(list(ratios), dtype=float), initial=np.nan))


def warn_of(title: str, found: dict[str, Health]) -> None:
    """Print what `describe` finds to stderr."""
    for sentence in describe(title, found):
        print(f"warning: {sentence}", file=sys.stderr, flush=True)


def describe(title: str, found: dict[str, Health]) -> list[str]:
    """Notes on models under a title: none, or one sentence that names the worst."""
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
    return f"predicts no better than nothing would (its loss is {health.loss:.3g} times that of predicting nothing)"


def _cure(poor: Iterable[Health]) -> str:
    known = {kind.stage: kind.cure for kind in _kinds_of(ModelSpec) if "stage" in vars(kind)}
    cures = "; ".join(known[stage] for stage in dict.fromkeys(health.stage for health in poor))
    return f"{cures[0].upper()}{cures[1:]}."


def _kinds_of(kind: type[ModelSpec]) -> list[type[ModelSpec]]:
    """All specs that derive from one."""
    return [each for derived in kind.__subclasses__() for each in (derived, *_kinds_of(derived))]
