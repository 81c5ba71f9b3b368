"""ReTrack with anchors (GUDA-C): unlearning of a style by redirecting the prompts that name it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from guda.config.section import Seed
from guda.config.training import WindowedOptimization
from guda.core.errors import ConfigError
from guda.core.paths import ANCHORS, BASE, TRAINING
from guda.specs import LatentUnlearnedSpec
from guda.unlearning.operator import Operator

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Anchors(WindowedOptimization):
    """ReTrack with anchors: forget images are redirected to the base model's predictions under anchor prompts."""

    steps: PositiveInt = Field(200, description="Optimizer steps per group.")
    batch_size: PositiveInt = Field(16, description="Forget images, and as many retain images, per step.")
    learning_rate: float = Field(5.0e-4, gt=0, description="Peak learning rate of AdamW.")
    seed: Seed = Field(0, description="Random seed of shuffling, prompts, anchors and noise.")
    retain_weight: float = Field(
        2.0, ge=0, description="lambda, the weight of the preserve term; the forget term has weight 1."
    )
    strategy: Literal["weighted", "uniform", "removed"] = Field(
        "weighted",
        description="Style of an anchor prompt: a retained style sampled by similarity to the prompt (weighted), any "
        "retained style (uniform), or none, only the content (removed). `guda` uses this one; "
        "guda_weighted, guda_uniform and guda_removed are rows of their own.",
    )
    sharpness: float = Field(
        2.0,
        ge=0,
        description="weighted: beta, the inverse temperature of the similarity; 0 weights all retained styles equally.",
    )
    uniform_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="weighted: eta, the fraction of anchors whose style is sampled uniformly instead."
    )
    preserve: Literal["denoising", "distillation"] = Field(
        "distillation",
        description="Preserve term on retain images: distillation (the base model's predictions) or denoising (their "
        "own noise).",
    )
    trainable: Literal["full", "cross_attention", "lora"] = Field(
        "full",
        description="Weights to update: full, cross_attention, or lora: adapters on the attention layers, a file of a"
        " few megabytes even for Stable Diffusion.",
    )
    lora_rank: PositiveInt = Field(8, description="lora: rank r of the adapters.")
    lora_alpha: PositiveInt = Field(8, description="lora: alpha; adapters are scaled by alpha / r.")


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
    """Unlearning with anchors, by the configured `strategy` or another one."""

    kind = AnchorsSpec

    def __init__(self, name: str, strategy: str | None = None):
        super().__init__(name, None if strategy is None else {"strategy": strategy})

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is not None

    def check(self, experiment: Experiment) -> None:
        """Anchors replace a style, so the group must hold at least half of some style's images."""
        column = experiment.fine_tuned.text.prompts.style
        for group in experiment.groups:
            if not experiment.fine_tuned.styles_held(group):
                raise ConfigError(
                    f"text_to_image.prompts.style: group {group!r} holds half of the images of no {column}; unlearning "
                    "by anchors replaces a style, so name the column that defines the groups"
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
