"""Section `text_to_image` but for unlearning: a Stable Diffusion pipeline in place of an unconditional network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from guda.config.pipeline import SmallPipeline
from guda.config.prompts import Prompts
from guda.config.section import Fraction, Location, Section, Seed


class QueryPrompts(Section):
    file: Location | None = Field(
        None,
        min_length=1,
        description="JSONL, CSV or Parquet file with a `prompt` for each query, and any other columns. null: prompts "
        "are made from `prompts.template`, cycling through the groups' styles and all contents.",
    )
    mixed: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Fraction of the prompts that mix the phrases of two styles, so that the prompt alone does not "
        "give the answer away.",
    )
    guidance_scale: float = Field(
        7.5, ge=0, description="Classifier-free guidance scale of generated queries; 1 is no guidance."
    )


class TextModels(Section):
    pipeline: Location | None = Field(
        None,
        min_length=1,
        description="A Stable Diffusion 1.x or 2.x pipeline: a diffusers folder with safetensors, or a Hub id "
        "OWNER/NAME@COMMIT. `noise_schedule` must be its own; the error lists what to write. null: the "
        "workflow trains a small one, as `small_pipeline` says.",
    )
    small_pipeline: SmallPipeline = Field(
        SmallPipeline(), description="A small Stable Diffusion for images of a few dozen pixels, trained on a CPU."
    )
    prompts: Prompts = Field(Prompts(), description="Prompts of the training images and of the anchors.")
    queries: QueryPrompts = Field(QueryPrompts(), description="Prompts of the queries.")
    latents: Literal["mean", "sample"] = Field(
        "mean",
        description="How an image is encoded: mean of the VAE's posterior, or a sample from it. One choice for "
        "training and scoring.",
    )
    latents_seed: Seed = Field(0, description="Random seed of the samples, combined with each image's id.")
    prompt_dropout: Fraction = Field(
        0.1, description="Fraction of training samples with an empty prompt, which guidance needs."
    )
    trainable: Literal["full", "cross_attention"] = Field(
        "full", description="Weights updated in fine-tuning: full or cross_attention."
    )
    score_prompt: Literal["own", "empty"] = Field(
        "own", description="Prompt that queries are scored with: own, or empty for all."
    )
