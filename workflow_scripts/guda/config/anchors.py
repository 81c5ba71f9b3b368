"""Section `text_to_image.anchors`: unlearning by redirecting prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from guda.config.section import Seed
from guda.config.training import Optimisation


class Anchors(Optimisation):
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
