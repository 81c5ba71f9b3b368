"""ESD with a text-to-image model's own guidance: forget images are steered away from their prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guda.core.paths import BASE, TRAINING
from guda.specs import LatentUnlearnedSpec
from guda.unlearning.esd.plan import Esd
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class PromptedEsdSpec(LatentUnlearnedSpec):
    stage, version = "prompted_esd", 1
    cure = "lower learning_rate, steps or forget_weight in `attribution.guda_esd`"
    settings: Esd
    trainable: Literal["full", "cross_attention", "lora"]
    lora_rank: int | None  # rank of the adapters, for lora
    lora_alpha: int | None

    @property
    def adapters(self) -> tuple[int, int] | None:
        return None if self.lora_rank is None or self.lora_alpha is None else (self.lora_rank, self.lora_alpha)


class SelfErasedDiffusion(Operator[PromptedEsdSpec]):
    """ESD with the base model's own guidance. The trainable weights are those of unlearning by anchors."""

    kind = PromptedEsdSpec

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is not None

    def settings(self, experiment: Experiment, group: str) -> Esd:
        return experiment.config.attribution.guda_esd.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> PromptedEsdSpec:
        anchors = experiment.fine_tuned.text.anchors
        lora = anchors.trainable == "lora"
        return PromptedEsdSpec(
            base=experiment.model_digest(BASE),
            samples=experiment.scored_digest(TRAINING),
            group=experiment.group_digest(group),
            noise_schedule=experiment.config.noise_schedule,
            settings=self.settings(experiment, group),
            trainable=anchors.trainable,
            lora_rank=anchors.lora_rank if lora else None,
            lora_alpha=anchors.lora_alpha if lora else None,
        )
