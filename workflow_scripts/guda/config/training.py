"""Sections `training`, `oracle` and `unlearn`: everything that optimises weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from guda.config.messages import explain
from guda.config.section import Fraction, Location, Section, Seed
from guda.core.errors import nearest_name


class Optimisation(Section):
    """What the one training loop needs, for training and unlearning alike."""

    steps: PositiveInt = Field(1500, description="Optimiser steps.")
    batch_size: PositiveInt = Field(64, description="Samples per step.")
    learning_rate: PositiveFloat = Field(6.0e-3, description="Peak learning rate of AdamW.")
    adam_beta2: Fraction = Field(0.999, description="Decay of AdamW's second moment.")
    weight_decay: float = Field(1.0e-4, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(50, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    decay: Literal["cosine", "constant"] = Field("cosine", description="Learning rate after the warm-up.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Optimisation:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} but there are only {self.steps} steps; make it smaller"
            )
        return self


class Training(Optimisation):
    seed: Seed = Field(0, description="Initial weights, order of the images, noise. Oracles use their own seeds.")
    ema_decay: Fraction = Field(0.999, description="Decay of the averaged weights, which are the checkpoint; 0: none.")
    flip: bool = Field(False, description="Each training image is mirrored left to right with probability 1/2.")

    def changed(self, changes: dict[str, Any]) -> Training:
        """The same with other values of some keys. Raises pydantic's ValidationError."""
        return Training.model_validate(self.model_dump() | changes)


class Oracle(Section):
    seeds: list[Seed] = Field(
        [1, 2],
        min_length=1,
        description="Training seeds of the LOGO models. The first is reported against; the others serve the ceiling.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Oracle:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed; two oracles of one seed are the same model")
        return self


class Unlearning(Optimisation):
    """ReTrack: forget images are redirected to the denoising directions of their retained neighbours."""

    steps: PositiveInt = Field(80, description="Optimiser steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget samples, and as many retain samples, per step.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    seed: Seed = Field(0, description="Order of the images and noise.")
    forget_weight: float = Field(0.1, ge=0, description="Weight lambda of the forget term; the preserve term has 1.")
    n_neighbors: PositiveInt = Field(10, description="K, retained images that a forget image is redirected to.")
    preserve: Literal["denoising", "distillation"] = Field(
        "denoising", description="Preserve term on retained images: their own noise, or the full model's prediction."
    )
    max_correction_norm: PositiveFloat | None = Field(
        None, description="Clips the redirection of each image to this norm; null: no clipping (recommended)."
    )


class FineTuning(Optimisation):
    """Settings of the operator `finetune`, all of which follow from those of unlearning but the learning rate."""

    seed: Seed


class Finetune(Section):
    learning_rate: PositiveFloat | None = Field(None, description="Peak learning rate of AdamW; null: unlearn's.")


class NegGrad(Optimisation):
    """Gradient ascent on the denoising loss of the forget images."""

    steps: PositiveInt = Field(20, description="Optimiser steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget samples, and as many retain samples if any, per step.")
    learning_rate: PositiveFloat = Field(1.0e-4, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    seed: Seed = Field(0, description="Order of the images and noise.")
    preserve_weight: float = Field(
        0.0, ge=0, description="Weight of the denoising loss on retained images, which is minimised; 0: ascent alone."
    )


class Esd(Optimisation):
    """ESD: forget images are steered away from their group by the conditional network's guidance."""

    steps: PositiveInt = Field(40, description="Optimiser steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget samples, and as many retain samples, per step.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    seed: Seed = Field(0, description="Order of the images and noise.")
    forget_weight: float = Field(0.3, ge=0, description="Weight lambda of the forget term; the preserve term has 1.")
    guidance: float = Field(5.0, ge=0, description="w, how far the target is steered; 0: nothing is unlearned.")
    preserve: Literal["denoising", "distillation"] = Field(
        "denoising", description="Preserve term on retained images: their own noise, or the full model's prediction."
    )


class Unlearn(Unlearning):
    overrides: dict[str, dict[str, Any]] = Field(
        {}, description="Settings of single groups: a group's name, then any key of this section with its value."
    )

    imported: dict[str, Location] = Field(
        {},
        alias="import",
        description="Models that unlearned a group elsewhere: a group's name, then a diffusers folder or a hub id "
        "OWNER/NAME@COMMIT.",
    )

    def for_group(self, group: str = "", variation: dict[str, Any] | None = None) -> Unlearning:
        """Settings of one group's unlearning: the section's, with the group's overrides and a variation applied."""
        settings = self.model_dump(exclude={"overrides", "imported"}) | self.overrides.get(group, {})
        return Unlearning.model_validate(settings | (variation or {}))

    @model_validator(mode="after")
    def _overrides_are_settings(self) -> Unlearn:
        for group, settings in self.overrides.items():
            for key in settings:
                if key not in Unlearning.model_fields:
                    known = nearest_name(key, list(Unlearning.model_fields))
                    raise ValueError(f"overrides.{group}.{key}: unknown key; {known}")
            try:
                self.for_group(group)
            except ValidationError as error:
                raise ValueError(f"overrides.{group}.{explain(error.errors()[0], Unlearning)}") from None
        return self
