"""ESD: unlearning by steering the denoising trajectories of forget images away from their group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from guda.config.training import WindowedOptimization
from guda.core.paths import CONDITIONAL
from guda.specs import PixelUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Esd(WindowedOptimization):
    """ESD: forget images are steered away from their group by the conditional network's guidance."""

    steps: PositiveInt = Field(40, description="Optimizer steps per group.")
    forget_weight: float = Field(
        0.3, ge=0, description="lambda, the weight of the forget term; the preserve term has weight 1."
    )
    guidance: float = Field(
        5.0,
        ge=0,
        description="w, the negative guidance; 0 unlearns nothing. Where only the group contains such images the "
        "network predicts them unconditionally, too, and there is little to steer away from: 1, as "
        "published, then removes too little.",
    )
    preserve: Literal["denoising", "distillation"] = Field(
        "denoising",
        description="Preserve term on retain images: denoising (their own noise) or distillation (the base model's "
        "predictions).",
    )


class EsdSpec(PixelUnlearnedSpec):
    stage, version = "esd", 1
    cure = "lower learning_rate, steps or forget_weight in `attribution.guda_esd`"
    conditional: str
    label: int
    settings: Esd


class ErasedDiffusion(Operator[EsdSpec]):
    """ESD with the guidance of the conditional network."""

    kind = EsdSpec

    def settings(self, experiment: Experiment, group: str) -> Esd:
        return experiment.config.attribution.guda_esd.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> EsdSpec:
        conditional, label = experiment.model_digest(CONDITIONAL), experiment.labels[group]
        return self.of_pixels(experiment, group, conditional=conditional, label=label)

    def files(self, experiment: Experiment, group: str) -> list[str]:
        return list(experiment.family.model_files(CONDITIONAL).values())
