"""Section `execution`: how jobs run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from guda.config.section import Section


class Execution(Section):
    """How jobs run. Nothing here changes a result beyond rounding, so nothing here makes a job stale."""

    batch_size: PositiveInt = Field(256, description="Samples per forward pass when scoring.")
    checkpoint_minutes: PositiveFloat = Field(
        5, description="Minutes after which a training saves its state; a killed job goes on from there."
    )
    checkpoint_steps: PositiveInt | None = Field(
        None, description="Optimiser steps after which it does so as well; null: by the clock alone."
    )
    micro_batch_size: PositiveInt | None = Field(
        None,
        description="Samples of a training or unlearning step that are worked off at a time, forget and retained ones "
        "so many each; null: all.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Text-to-image networks compute again on the way back what they did not keep: less memory."
    )
    gpus: Literal[0, 1] = Field(
        0, description="GPUs that each training, unlearning, scoring and sampling job asks for; without one, the CPU."
    )
    deterministic: bool = Field(False, description="GPU jobs give equal bits in each run, and take longer.")
    threads: PositiveInt = Field(1, description="CPU threads of each training, unlearning and scoring job.")
