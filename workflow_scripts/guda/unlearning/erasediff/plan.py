"""EraseDiff: unlearning by training on retained images under the constraint that the group is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from guda.config.training import WindowedOptimization
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class EraseDiff(WindowedOptimization):
    """EraseDiff: the denoiser is trained to predict uniform noise on forget images, at a given rate."""

    erasure_rate: PositiveFloat = Field(
        0.03,
        description="eta: each step lowers the forget loss at least at eta times the rate of its steepest descent. "
        "Published code uses 0.1.",
    )


class EraseDiffSpec(PixelUnlearnedSpec):
    stage, version = "erasediff", 1
    cure = "lower learning_rate, steps or erasure_rate in `attribution.guda_erasediff`"
    settings: EraseDiff


class ConstrainedErasure(Operator[EraseDiffSpec]):
    """Minimizes the loss on retained images subject to predicting uniform noise on forget images."""

    kind = EraseDiffSpec

    def settings(self, experiment: Experiment, group: str) -> EraseDiff:
        return experiment.config.attribution.guda_erasediff.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> EraseDiffSpec:
        return self.of_pixels(experiment, group)
