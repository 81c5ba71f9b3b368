"""Section `queries.exemplars`: models that are fine-tuned on a few images of a group, and generate the queries."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Seed
from guda.config.training import Training

MOST_IMAGES = 1000  # whose ids stand in one spec, on a command line


class Exemplars(Training):
    """How the base model is fine-tuned on a few images of each group, and how many images each result generates."""

    groups: list[str] | None = Field(None, description="Groups on whose images a model each is tuned; null: all.")
    images: int = Field(4, ge=1, le=MOST_IMAGES, description="Training images of the group that it is tuned on.")
    count: PositiveInt = Field(8, description="Images to generate by each tuned model, and to attribute.")
    seed: Seed = Field(0, description="Seed of the choice of these images, of their order and of the noise.")
    steps: PositiveInt = Field(100, description="Optimiser steps. More make the model generate its exemplars alone.")
    batch_size: PositiveInt = Field(16, description="Samples per step; each exemplar stands in it several times.")
    learning_rate: PositiveFloat = Field(1.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    ema_decay: Fraction = Field(0.0, description="Decay of the averaged weights, which are the checkpoint; 0: none.")

    @model_validator(mode="after")
    def _names_groups(self) -> Exemplars:
        if self.groups is not None and len(set(self.groups)) < max(1, len(self.groups)):
            raise ValueError(f"groups is {self.groups}; name one or more, each once, or null for all")
        return self

    @property
    def training(self) -> Training:
        """How a model is tuned, whatever it is tuned on."""
        return Training(**{name: getattr(self, name) for name in Training.model_fields})
