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
        description="JSONL, CSV or Parquet file of prompts to generate queries from: `prompt`, and any columns. null: "
        "prompts are made from `prompts.template`, of all target styles and contents in turn.",
    )
    mixed: float = Field(
        0.5, ge=0, le=1, description="Share of the prompts that take descriptors of two target styles."
    )
    guidance_scale: float = Field(
        7.5, ge=0, description="Weight of the prompt when queries are generated; 1: the model as it is."
    )


class TextModels(Section):
    pipeline: Location | None = Field(
        None,
        min_length=1,
        description="Pretrained Stable Diffusion: a diffusers folder, or a hub id OWNER/NAME@COMMIT. null: a small one "
        "is made, see `small_pipeline`.",
    )
    small_pipeline: SmallPipeline = Field(SmallPipeline(), description="How the small pipeline is made.")
    prompts: Prompts = Field(Prompts(), description="Prompts of training images and of anchors.")
    queries: QueryPrompts = Field(QueryPrompts(), description="Prompts of the queries.")
    latents: Literal["mean", "sample"] = Field(
        "mean", description="An image's latents: the mean of the VAE's distribution, or a sample of it."
    )
    latents_seed: Seed = Field(0, description="Seed of the samples, with the image's id.")
    prompt_dropout: Fraction = Field(
        0.1, description="Share of the training samples that are seen with an empty prompt, as guidance needs."
    )
    trainable: Literal["full", "cross_attention"] = Field(
        "full", description="Weights that fine-tuning moves: all, or those of cross-attention."
    )
    score_prompt: Literal["own", "empty"] = Field(
        "own", description="Prompt with which images are scored: each one's own, or the empty one for all."
    )
