"""ReTrack by anchors: unlearning of a style by redirecting the prompts that name it (GUDA-C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from guda.config.section import Seed
from guda.config.training import WindowedOptimisation
from guda.core.errors import ConfigError
from guda.core.paths import ANCHORS, BASE, TRAINING
from guda.specs import LatentUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Anchors(WindowedOptimisation):
    """Forget images, told their own prompts, are redirected to what the full model says when told anchor prompts."""

    steps: PositiveInt = Field(200, description="Optimiser steps per group.")
    batch_size: PositiveInt = Field(16, description="Forget samples, and as many retain samples, per step.")
    learning_rate: float = Field(5.0e-4, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    seed: Seed = Field(0, description="Order of the images, their prompts, anchors and noise.")
    retain_weight: float = Field(2.0, ge=0, description="Weight lambda of the preserve term; the forget term has 1.")
    strategy: Literal["weighted", "uniform", "removed"] = Field(
        "weighted",
        description="Style of an anchor prompt: a retained one, the likelier the nearer the forget prompt is; any "
        "retained one; or none, the content alone.",
    )
    sharpness: float = Field(
        2.0, ge=0, description="beta, how much likelier the nearer styles are, for `weighted`; 0: all alike."
    )
    uniform_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="eta, share of the anchors whose style is any retained one, for `weighted`; 1: all."
    )
    preserve: Literal["denoising", "distillation"] = Field(
        "distillation", description="Preserve term on retained images: their own noise, or the full model's prediction."
    )
    trainable: Literal["full", "cross_attention", "lora"] = Field(
        "full",
        description="Weights that move: all, those of the layers that read the prompt, or adapters on the attention "
        "layers, which a small file holds.",
    )
    lora_rank: PositiveInt = Field(8, description="Rank r of the adapters, for `lora`.")
    lora_alpha: PositiveInt = Field(8, description="alpha: adapters are scaled by alpha / r, for `lora`.")


class AnchorsSpec(LatentUnlearnedSpec):
    stage, version = "anchors", 1
    cure = "lower learning_rate or steps in `text_to_image.anchors`"
    anchors: str
    settings: Anchors

    @property
    def adapters(self) -> tuple[int, int] | None:
        lora = self.settings.trainable == "lora"
        return (self.settings.lora_rank, self.settings.lora_alpha) if lora else None


class AnchorReTrack(Operator[AnchorsSpec]):
    """With anchors of the configured `strategy`, or of another."""

    kind = AnchorsSpec

    def __init__(self, name: str, strategy: str | None = None):
        super().__init__(name, None if strategy is None else {"strategy": strategy})

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is not None

    def check(self, experiment: Experiment) -> None:
        """Anchors exchange a style: without the group's images, one has to be gone for the most part."""
        column = experiment.fine_tuned.text.prompts.style
        for group in experiment.groups:
            if not experiment.fine_tuned.styles_held(group):
                raise ConfigError(
                    f"text_to_image.prompts.style: group {group!r} holds half of the images of no {column}; unlearning "
                    "by anchors exchanges styles, so name the column that the groups are of"
                )

    def settings(self, experiment: Experiment, group: str) -> Anchors:
        return experiment.fine_tuned.text.anchors.model_copy(update=self.variation)

    def spec(self, experiment: Experiment, group: str) -> AnchorsSpec:
        return AnchorsSpec(
            base=experiment.model_digest(BASE),
            samples=experiment.scored_digest(TRAINING),
            anchors=experiment.fine_tuned.encoded_anchors_spec().digest(),
            group=experiment.group_digest(group),
            noise_schedule=experiment.config.noise_schedule,
            settings=self.settings(experiment, group),
        )

    def files(self, experiment: Experiment, group: str) -> list[str]:
        return [experiment.paths.encoded(ANCHORS)]
