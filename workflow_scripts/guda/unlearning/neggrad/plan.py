"""Gradient ascent on the denoising loss of the forget images: the naive unlearning baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from guda.config.training import WindowedOptimization
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class NegGrad(WindowedOptimization):
    """Gradient ascent on the denoising loss of the forget images."""

    steps: PositiveInt = Field(20, description="Optimizer steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget images, and as many retain images if any, per step.")
    learning_rate: PositiveFloat = Field(1.0e-4, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear learning rate warm-up; fewer than `steps`.")
    preserve_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of the denoising loss on as many retain images, minimized at the same time; 0: ascent "
        "alone.",
    )


class NegGradSpec(PixelUnlearnedSpec):
    stage, version = "neggrad", 1
    cure = "lower learning_rate or steps in `attribution.neggrad`"
    settings: NegGrad


class GradientAscent(Operator[NegGradSpec]):
    """Gradient ascent on the loss of forget images."""

    kind = NegGradSpec

    def settings(self, experiment: Experiment, group: str) -> NegGrad:
        return experiment.config.attribution.neggrad.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> NegGradSpec:
        return self.of_pixels(experiment, group)
