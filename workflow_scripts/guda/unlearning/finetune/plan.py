"""Fine-tuning on the retained images: the group is forgotten only because it is no longer seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from guda.config.section import Section
from guda.config.training import Optimization, WindowedOptimization
from guda.core.records import FORWARD_AND_BACKWARD
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator
from guda.unlearning.retrack.plan import Unlearning, evaluations_per_step

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Finetune(Section):
    learning_rate: PositiveFloat | None = Field(
        None, description="Peak learning rate of AdamW; null: that of `unlearn`."
    )


class ContinuedSettings(WindowedOptimization):
    """Settings of the operator `finetune`; all except the learning rate follow from those of `unlearn`."""


class ContinuedTrainingSpec(PixelUnlearnedSpec):
    stage, version = "finetune", 1
    cure = "lower learning_rate in `attribution.finetune`, or steps in `unlearn`"
    settings: ContinuedSettings


class ContinuedTraining(Operator[ContinuedTrainingSpec]):
    """Continues training without the forget images."""

    kind = ContinuedTrainingSpec

    def settings(self, experiment: Experiment, group: str) -> ContinuedSettings:
        config = experiment.config
        return at_the_price_of_retrack(config.unlearn, config.attribution.finetune).model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> ContinuedTrainingSpec:
        return self.of_pixels(experiment, group)

    def batch(self, settings: Optimization) -> int:
        return settings.batch_size


def at_the_price_of_retrack(unlearn: Unlearning, finetune: Finetune) -> ContinuedSettings:
    """Settings of fine-tuning: as many steps as ReTrack, with a batch size of equal evaluations per step."""
    settings = {name: getattr(unlearn, name) for name in ContinuedSettings.model_fields}
    settings["batch_size"] = round(evaluations_per_step(unlearn) / FORWARD_AND_BACKWARD)
    if finetune.learning_rate is not None:
        settings["learning_rate"] = finetune.learning_rate
    return ContinuedSettings(**settings)
