"""EraseDiff: unlearning by training on retained images under the constraint that the group is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from guda.config.section import Seed
from guda.config.training import WindowedOptimisation
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class EraseDiff(WindowedOptimisation):
    """EraseDiff: the denoiser is trained to predict uniform noise on forget images, at a given rate."""

    steps: PositiveInt = Field(80, description="Optimizer steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget images, and as many retain images, per step.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning rate warm-up; a tenth of `steps` or less.")
    seed: Seed = Field(0, description="Random seed of shuffling and noise.")
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
    """Minimises the loss on retained images subject to predicting uniform noise on forget images."""

    kind = EraseDiffSpec

    def settings(self, experiment: Experiment, group: str) -> EraseDiff:
        return experiment.config.attribution.guda_erasediff.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> EraseDiffSpec:
        return self.of_pixels(experiment, group)
