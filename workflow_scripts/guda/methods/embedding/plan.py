"""Similarity of features of the base model or of a vision model, as in CLIPA, which uses CLIP."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from guda.config.model import NoiseSchedule
from guda.config.section import Location
from guda.core.errors import ConfigError
from guda.core.hub import HUB_ID
from guda.core.paths import BASE, TRAINING, Paths
from guda.core.spec import Spec
from guda.methods.instance import Aggregation, Similarity, SimilaritySpec, part
from guda.methods.method import Needs
from guda.models.imported import check_is_folder, check_vision_model, vision_digest, vision_notes

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

KEY = "attribution.embedding.model"


class Embedding(Aggregation):
    model: Location | None = Field(
        None,
        min_length=1,
        description="A transformers vision model (CLIP, DINO, ViT): a folder with config.json, "
        "preprocessor_config.json and safetensors, or a Hub id OWNER/NAME@COMMIT. null: the middle block "
        "of the base model, without any download; that of a text-to-image model sees latents and the "
        "empty prompt.",
    )
    step: PositiveInt = Field(
        20, description="model null: diffusion step at which the base model sees the images. A little noise works best."
    )
    top_k: PositiveInt = Field(10, description="top_k: number of images. Ten are more stable than one.")


class FeatureNoise(BaseModel):
    """The noise added to images whose base-model features are computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: NoiseSchedule
    step: int
    seed: int


class FeaturesSpec(Spec):
    stage, version = "features", 1
    model: str  # digest of the base model, or of the content of a vision model
    images: str  # digest of the training images, or of a bucket of queries
    noise: FeatureNoise | None  # None: features of a vision model


class EmbeddingSpec(SimilaritySpec):
    stage, version = "embedding", 1
    training: str  # digest of the training images' features
    buckets: dict[str, str]  # digest of the features of each bucket
    settings: Aggregation


class FeatureSimilarity(Similarity[EmbeddingSpec]):
    """A training image's score is the cosine similarity of its features and the query's."""

    kind = EmbeddingSpec

    def check(self, experiment: Experiment) -> None:
        source = experiment.config.attribution.embedding.model
        if source is not None and not HUB_ID.fullmatch(source):
            check_is_folder(source, KEY, "AutoModel", "model")
            check_vision_model(Path(source), KEY)

    def notes(self, experiment: Experiment) -> list[str]:
        source = experiment.config.attribution.embedding.model
        return [] if source is None else vision_notes(source, KEY)

    def features_spec(self, experiment: Experiment, images: str) -> FeaturesSpec:
        """Spec of the features of the training images (TRAINING) or of a bucket of queries."""
        settings, schedule = experiment.config.attribution.embedding, experiment.config.noise_schedule
        if settings.model is not None:
            pixels = experiment.pixels_digest(images)
            return FeaturesSpec(model=_vision_digest(settings.model), images=pixels, noise=None)
        if experiment.config.text_to_image is None and experiment.config.unet.mid_block_type is None:
            raise ConfigError(f"{KEY} is null, but the network has no middle block (unet.mid_block_type); name a model")
        if settings.step >= schedule.num_train_timesteps:
            last = schedule.num_train_timesteps - 1
            raise ConfigError(f"attribution.embedding.step is {settings.step}, after the noise schedule's last, {last}")
        noise = FeatureNoise(noise_schedule=schedule, step=settings.step, seed=experiment.config.elbo.seed)
        seen = experiment.scored_digest(images)
        return FeaturesSpec(model=experiment.model_digest(BASE), images=seen, noise=noise)

    def spec(self, experiment: Experiment) -> EmbeddingSpec:
        return EmbeddingSpec(
            images=experiment.images_digest,
            training=self.features_spec(experiment, TRAINING).digest(),
            buckets={bucket: self.features_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            members={group: experiment.group_digest(group) for group in experiment.groups},
            settings=part(experiment.config.attribution.embedding, Aggregation),
        )

    def needs(self, spec: EmbeddingSpec, paths: Paths) -> Needs:
        files = [paths.features(self.name, images) for images in (TRAINING, *spec.buckets)]
        return Needs(
            [paths.images(), *map(paths.group, spec.members), *files],
            {paths.features_record(self.name, TRAINING): spec.training},
            {paths.features_record(self.name, bucket): expected for bucket, expected in spec.buckets.items()},
        )


@cache  # so that planning reads a large model's files once, not once per bucket
def _vision_digest(source: str) -> str:
    return vision_digest(source, KEY)
