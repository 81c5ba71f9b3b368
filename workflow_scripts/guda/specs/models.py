"""Specs of trained and imported models, and their base class."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from guda import config
from guda.core.spec import Spec


class ModelSpec(Spec):
    """Base of the specs of models."""

    cure: ClassVar[str]  # advice to the user for a diverged model

    @property
    def adapters(self) -> tuple[int, int] | None:
        """Rank and alpha, if the model is saved only as adapters of the base model."""
        return None


class UnlearnedSpec(ModelSpec):
    """Base of the specs of models that have unlearned a group.

    `earlier` has settings that came later, in groups, with the values that models from before them have. A group is
    omitted where it has these values, so that those models keep their specs.
    """

    earlier: ClassVar[tuple[dict[str, Any], ...]] = ({"first": 0, "last": None},)  # a window of all diffusion steps
    base: str
    group: str
    noise_schedule: config.NoiseSchedule

    @model_serializer(mode="wrap")
    def _without_earlier(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        settings = values["settings"]
        for group in self.earlier:
            if group.items() <= settings.items():
                settings = {name: value for name, value in settings.items() if name not in group}
        return values | {"settings": settings}

    @field_validator("settings", mode="before", check_fields=False)
    @classmethod
    def _earlier_unless_given(cls, settings: Any) -> Any:
        """Omitted settings have the earlier values, whatever the defaults are today."""
        if not isinstance(settings, dict):
            return settings
        return {name: value for group in cls.earlier for name, value in group.items()} | settings

    @property
    def seen(self) -> str:
        """Digest of the training samples as network inputs."""
        raise NotImplementedError


class PixelUnlearnedSpec(UnlearnedSpec):
    """Base of the specs of pixel-space models that have unlearned a group."""

    images: str

    @property
    def seen(self) -> str:
        return self.images


class LatentUnlearnedSpec(UnlearnedSpec):
    """Base of the specs of text-to-image models that have unlearned a group."""

    samples: str  # digest of the encoded training set

    @property
    def seen(self) -> str:
        return self.samples


class TrainSpec(ModelSpec):
    stage, version = "train", 1
    cure = "lower learning_rate in `training`, or raise steps"
    images: str
    excluded: str | None  # digest of the group or exclusion that is left out; None: the base model
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training


class TunedSpec(ModelSpec):
    stage, version = "tuned", 1
    cure = "lower learning_rate in `queries.exemplars`, or steps"
    base: str
    images: str
    exemplars: list[str]  # ids of the training images that the base model is fine-tuned on
    noise_schedule: config.NoiseSchedule
    training: config.Training


class ConditionalSpec(ModelSpec):
    stage, version = "conditional", 1
    cure = "lower learning_rate in `attribution.conditional.training`, or raise steps"
    images: str
    members: dict[str, str]  # digest of each group; labels number the groups in name order
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training
    label_dropout: float


class ClassifierSpec(ModelSpec):
    stage, version = "classifier", 1
    cure = "lower learning_rate in `attribution.classifier.training`, or raise steps"
    images: str
    members: dict[str, str]  # digest of each group; outputs number the groups in name order
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
    training: config.Training


class ImportedModelSpec(ModelSpec):
    stage, version = "imported_model", 1
    cure = "take another model"
    content: str  # digest of the files, or of the pinned hub id
    shape: list[int]  # [C, H, W] of the training images
    unet: config.UNet
    noise_schedule: config.NoiseSchedule
