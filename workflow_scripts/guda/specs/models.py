"""Trained, unlearned and imported models."""

from __future__ import annotations

from guda import config
from guda.core.spec import Spec


class TrainSpec(Spec):
    stage, version = "train", 1
    images: str
    excluded: str | None  # digest of the group, or of the exclusion, that is left out; None: the base model
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training


class ConditionalSpec(Spec):
    stage, version = "conditional", 1
    images: str
    members: dict[str, str]  # digest of each group; labels count the groups by name
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training
    label_dropout: float


class ClassifierSpec(Spec):
    stage, version = "classifier", 1
    images: str
    members: dict[str, str]  # digest of each group; outputs count the groups by name
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training


class ImportedModelSpec(Spec):
    stage, version = "imported_model", 1
    content: str  # digest of the files, or of the pinned hub id
    shape: list[int]  # [C, H, W] of the training images
    unet: config.UNet
    noise_schedule: config.NoiseSchedule


class UnlearnSpec(Spec):
    stage, version = "unlearn", 1
    method: str
    base: str
    images: str
    group: str
    neighbors: str
    noise_schedule: config.NoiseSchedule
    settings: config.Unlearning


class FinetuneSpec(Spec):
    stage, version = "finetune", 1
    base: str
    images: str
    group: str
    noise_schedule: config.NoiseSchedule
    settings: config.FineTuning


class NegGradSpec(Spec):
    stage, version = "neggrad", 1
    base: str
    images: str
    group: str
    noise_schedule: config.NoiseSchedule
    settings: config.NegGrad


class EsdSpec(Spec):
    stage, version = "esd", 1
    base: str
    conditional: str
    label: int
    images: str
    group: str
    noise_schedule: config.NoiseSchedule
    settings: config.Esd
