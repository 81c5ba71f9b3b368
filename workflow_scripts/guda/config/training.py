"""Sections `training` and `oracle`, and what all sections that optimise weights share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Section, Seed


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


class WindowedOptimisation(Optimisation):
    """What all ways to unlearn a group share: the diffusion steps at which images are noised."""

    first: int = Field(0, ge=0, description="First diffusion step at which images are noised.")
    last: PositiveInt | None = Field(None, description="Last one; null: the noise schedule's last step.")

    @property
    def window(self) -> tuple[int, int | None]:
        return self.first, self.last

    @model_validator(mode="after")
    def _window_ordered(self) -> WindowedOptimisation:
        if self.last is not None and self.first > self.last:
            raise ValueError(f"first is {self.first}, after last {self.last}; choose a smaller one")
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
        description="Training seeds of the LOGO models. The first is reported against; the others serve the ceiling. "
        "None: nothing is retrained, nor compared with retraining.",
    )
    own_base: bool = Field(
        False,
        description="Each seed's models are compared with one trained on everything from that seed, not with the base.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Oracle:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed; two oracles of one seed are the same model")
        if self.own_base and not self.seeds:
            raise ValueError("own_base is for the models of each of `seeds`, which are []; add a seed or leave it out")
        return self
