"""Section `execution`: how jobs run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from guda.config.section import Section


class Execution(Section):
    """How jobs run. Nothing here changes a result beyond rounding, so nothing here makes a job stale."""

    batch_size: PositiveInt = Field(
        256, description="Images per forward pass when scoring; lower it if memory is short."
    )
    checkpoint_minutes: PositiveFloat = Field(
        5,
        description="Minutes between saved training states. An interrupted job (Ctrl-C) finishes its step and saves "
        "its state, a killed one resumes from the last saved state; both resume in the next run.",
    )
    checkpoint_steps: PositiveInt | None = Field(
        None, description="Also save the state every so many optimizer steps; null: by time only."
    )
    micro_batch_size: PositiveInt | None = Field(
        None,
        description="Micro-batch size for gradient accumulation in training and unlearning, for forget and retain "
        "images each. Choose the largest that fits in memory, a divisor of batch_size; null: the whole "
        "batch. A GPU that runs out of memory halves it automatically. Results change only with dropout, "
        "which draws other masks.",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Recompute activations of text-to-image networks in the backward pass: much less memory, about a "
        "third more time. For networks of Stable Diffusion's size on one GPU.",
    )
    gpus: Literal[0, 1] = Field(
        0,
        description="GPUs requested by each training, unlearning, scoring and sampling job: with 1, each job has a "
        "GPU to itself and waits for a free one; without any GPU, jobs run on the CPU and say so.",
    )
    deterministic: bool = Field(
        False, description="Bitwise reproducible GPU jobs, which take longer. CPU jobs always are."
    )
    threads: PositiveInt = Field(1, description="CPU threads of each training, unlearning and scoring job.")
