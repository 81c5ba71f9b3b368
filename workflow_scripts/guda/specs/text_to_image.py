"""Specs of text-to-image pipelines, encoded data and models."""

from __future__ import annotations

from typing import Literal

from guda.config.model import NoiseSchedule
from guda.config.pipeline import SmallPipeline
from guda.config.training import Training
from guda.core.spec import Spec
from guda.specs.models import ModelSpec


class PipelineSpec(Spec):
    stage, version = "pipeline", 1
    images: str
    prompts: str  # digest of all training prompts, whose words form the tokenizer's vocabulary
    noise_schedule: NoiseSchedule
    settings: SmallPipeline


class PromptsSpec(Spec):
    stage, version = "prompts", 1
    content: str  # digest of all rows and columns


class EncodedSpec(Spec):
    stage, version = "encoded", 1
    pipeline: str  # digest of the small pipeline's spec, or of the content of the user's pipeline
    images: str  # digest of the training images, the calibration sample or a bucket of queries
    prompts: str
    seed: int | None  # seed of sampled latents; None: latents are means
    prompted: bool  # False: all images have the empty prompt


class EncodedAnchorsSpec(Spec):
    stage, version = "encoded_anchors", 1
    pipeline: str
    prompts: str
    of_images: str  # digest of the training images' prompts, with contents and styles


class FineTuneSpec(ModelSpec):
    stage, version = "fine_tune", 1
    cure = "lower learning_rate in `training`, or raise steps"
    pipeline: str
    samples: str  # digest of the encoded training set
    excluded: str | None
    noise_schedule: NoiseSchedule
    training: Training
    prompt_dropout: float
    trainable: Literal["full", "cross_attention"]


class ImportedUNetSpec(ModelSpec):
    stage, version = "imported_unet", 1
    cure = "take another model"
    content: str  # digest of the files, or of the pinned hub id
    pipeline: str  # pipeline whose UNet these weights belong to
    shape: list[int]  # [C, H, W] of the training images
    noise_schedule: NoiseSchedule


class PromptedQueriesSpec(Spec):
    stage, version = "prompted_queries", 1
    base: str
    pipeline: str
    prompts: str
    noise_schedule: NoiseSchedule
    seed: int
    sampler: str
    sampling_steps: int
    guidance_scale: float
    ids: list[str]
