"""SISS: the training loss without the group, as the loss on all images minus the loss on the group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from guda.config.training import Optimization, WindowedOptimization
from guda.core.records import FORWARD_AND_BACKWARD
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Siss(WindowedOptimization):
    """SISS: the loss on all images minus the loss on forget images, from one prediction on a mixture of both."""

    batch_size: PositiveInt = Field(64, description="Pairs of any image and a forget image per step.")
    mixture: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="lambda, the probability that the noisy image of a pair is drawn from the forget image.",
    )
    forget_norm: PositiveFloat | None = Field(
        0.2,
        description="The gradient of the forget term is scaled to this fraction of the other term's norm at each "
        "step; 0.1 as published. null: unscaled, which is the loss of training without the group.",
    )


class SissSpec(PixelUnlearnedSpec):
    stage, version = "siss", 1
    cure = "lower learning_rate, steps or forget_norm in `attribution.guda_siss`"
    settings: Siss


class SubtractedScores(Operator[SissSpec]):
    """Subtracts the loss on forget images from the loss on all images."""

    kind = SissSpec

    def settings(self, experiment: Experiment, group: str) -> Siss:
        return experiment.config.attribution.guda_siss.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> SissSpec:
        return self.of_pixels(experiment, group)

    def batch(self, settings: Optimization) -> int:
        return settings.batch_size

    def evaluations(self, settings: Optimization) -> int:
        return settings.steps * evaluations_per_step(settings)


def evaluations_per_step(settings: Optimization) -> int:
    """One prediction per noisy image, and two backward passes."""
    return settings.batch_size * (2 * FORWARD_AND_BACKWARD - 1)
