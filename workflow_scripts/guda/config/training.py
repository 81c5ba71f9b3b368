"""Sections `training` and `oracle`, and what all sections that optimize weights share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Section, Seed


class Optimization(Section):
    """What the one training loop needs, for training and unlearning alike."""

    steps: PositiveInt = Field(
        1500,
        description="Optimizer steps. Longer training makes every pair of models agree better (see the `ceiling` "
        "row), at a proportional cost.",
    )
    batch_size: PositiveInt = Field(64, description="Images per step.")
    learning_rate: PositiveFloat = Field(
        6.0e-3, description="Peak learning rate of AdamW. Lower it if the loss in the log is not finite."
    )
    adam_beta2: Fraction = Field(0.999, description="Decay of AdamW's second moment.")
    weight_decay: float = Field(1.0e-4, ge=0, description="Decoupled weight decay of AdamW.")
    warmup_steps: int = Field(
        50, ge=0, description="Steps of linear learning rate warm-up; a tenth of `steps` or less."
    )
    decay: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate schedule after the warm-up: cosine (decays to zero) or constant."
    )
    max_grad_norm: PositiveFloat = Field(1.0, description="Maximum gradient norm; larger gradients are clipped.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Optimization:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} but there are only {self.steps} steps; make it smaller"
            )
        return self


class WindowedOptimization(Optimization):
    """What all ways to unlearn a group share, the diffusion steps at which images are noised among it."""

    steps: PositiveInt = Field(80, description="Optimizer steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget images, and as many retain images, per step.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning rate warm-up; a tenth of `steps` or less.")
    first: int = Field(
        0,
        ge=0,
        description="First diffusion step at which images are noised during unlearning. Every unlearning method has "
        "this window; finetune uses that of `unlearn`.",
    )
    last: PositiveInt | None = Field(
        None, description="Last diffusion step of the window; null: the last of the noise schedule."
    )
    seed: Seed = Field(0, description="Random seed of shuffling and noise.")

    @property
    def window(self) -> tuple[int, int | None]:
        return self.first, self.last

    @model_validator(mode="after")
    def _window_ordered(self) -> WindowedOptimization:
        if self.last is not None and self.first > self.last:
            raise ValueError(f"first is {self.first}, after last {self.last}; choose a smaller one")
        return self


class Training(Optimization):
    seed: Seed = Field(
        0,
        description="Random seed of initial weights, shuffling and noise. The oracle's models use oracle.seeds "
        "instead.",
    )
    ema_decay: Fraction = Field(
        0.999,
        description="Decay of the exponential moving average of the weights, which is what is saved; 0 saves the raw "
        "weights.",
    )
    flip: bool = Field(
        False,
        description="Random horizontal flips, with probability 1/2. For photographs, not for digits or letters. The "
        "nearest neighbors and unlearning use unflipped images.",
    )

    def changed(self, changes: dict[str, Any]) -> Training:
        """The same with other values of some keys. Raises pydantic's ValidationError."""
        return Training.model_validate(self.model_dump() | changes)


class Oracle(Section):
    seeds: list[Seed] = Field(
        [1, 2],
        description="Training seeds; one model per group and seed is retrained without the group. Rankings are "
        "measured against the first seed; the others give the ceiling (how well one oracle predicts "
        "another) and are the ones to choose settings by. A single seed halves the cost and leaves out "
        "the ceiling. []: no retraining; rankings and figures are still made, but not the comparisons "
        "(metrics.csv, significance.csv, metrics_by_source.csv).",
    )
    own_base: bool = Field(
        False,
        description="Also train a base model from each of these seeds and compare that seed's scores with it. The "
        "ceiling then no longer counts as agreement what is peculiar to the shared base model, which "
        "generated the queries. Costs one training per seed, counted as the oracle's.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Oracle:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed; two oracles of one seed are the same model")
        if self.own_base and not self.seeds:
            raise ValueError("own_base is for the models of each of `seeds`, which are []; add a seed or leave it out")
        return self
