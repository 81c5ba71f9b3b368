"""Sections `attribution.abu` and `attribution.mucs`, but for the aggregation: methods that unlearn the query."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from guda.config.section import Section, Seed
from guda.config.training import Optimisation
from guda.core.seeding import chosen


class Influence(Section):
    """On what the base model and the one that unlearned the query are compared."""

    seed: Seed = Field(0, description="Choice of the training images, and noise.")
    train_sample: PositiveInt | None = Field(
        500, description="Training images that are asked, chosen by a hash of their ids; null: all."
    )
    loss_steps: PositiveInt = Field(
        10, description="Diffusion steps, evenly spaced, at which their losses are compared; one noise at each."
    )

    def sampled_rows(self, ids: list[str]) -> list[int]:
        """Rows of the training images that are asked."""
        return chosen(ids, self.train_sample or len(ids), "influence", self.seed)


class AbuInfluence(Influence):
    """Gradient ascent on the query's loss, divided by the Fisher information."""

    steps: PositiveInt = Field(1, description="Steps up the query's loss.")
    step_size: PositiveFloat = Field(1.0e-3, description="eta, the factor of each step; 1: a Newton step.")
    damping: PositiveFloat = Field(1.0e-3, description="Added to the Fisher information, relative to its mean.")
    query_steps: PositiveInt = Field(
        100, description="Diffusion steps, evenly spaced, that the query's loss is averaged over; one noise at each."
    )
    parameters: list[str] | None = Field(
        None,
        min_length=1,
        description="Only these weights move: regular expressions, each found in the names of some; null: all, but of "
        "text-to-image models the keys and values of cross-attention.",
    )

    @field_validator("parameters")
    @classmethod
    def _regular_expressions(cls, value: list[str] | None) -> list[str] | None:
        for pattern in value or []:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return value


class Fisher(Section):
    """The diagonal of the Fisher information, from the squared gradients of single losses."""

    images: PositiveInt = Field(500, description="Training images, chosen by a hash of their ids.")
    steps: PositiveInt = Field(4, description="Losses of each, at diffusion steps spread over the whole process.")
    seed: Seed = Field(0, description="Choice of the images, their steps and noise.")


class MucsInfluence(Influence, Optimisation):
    """Bounded ascent on the query's loss, while the training images' is held down."""

    steps: PositiveInt = Field(10, description="Optimiser steps per query.")
    batch_size: PositiveInt = Field(32, description="Training images, and as many noises of the query, per step.")
    learning_rate: PositiveFloat = Field(3.0e-4, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    decay: Literal["cosine", "constant"] = Field("constant", description="Learning rate after the warm-up.")
    forget_weight: PositiveFloat = Field(0.2, description="Weight lambda of the query's bounded loss.")
