"""Who has images like this one, in the eyes of a network? Similarity of features, as CLIPA measures it with CLIP's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from guda import config
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ConfigError
from guda.core.paths import BASE, TRAINING, Paths
from guda.methods.instance import InstanceLevel
from guda.methods.method import Needs
from guda.models.imported import vision_digest
from guda.specs import EmbeddingSpec, FeatureNoise, FeaturesSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

NAME = "embedding"
KEY = "attribution.embedding.model"
CHUNK = 1024


class Embedding(InstanceLevel):
    """An image's score is the cosine of its features and the query's."""

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
        settings = experiment.config.attribution.embedding
        return EmbeddingSpec(
            images=experiment.images_digest,
            training=self.features_spec(experiment, TRAINING).digest(),
            buckets={bucket: self.features_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            members={group: experiment.group_digest(group) for group in experiment.groups},
            settings=config.Aggregation(aggregate=settings.aggregate, top_k=settings.top_k),
        )

    def parse(self, text: str) -> EmbeddingSpec:
        return EmbeddingSpec.parse(text)

    def needs(self, spec: EmbeddingSpec, paths: Paths) -> Needs:
        sources = {TRAINING: spec.training} | spec.buckets
        return Needs(
            [paths.images(), *map(paths.group, spec.members), *(paths.features(NAME, images) for images in sources)],
            {paths.features_record(NAME, TRAINING): spec.training},
            {paths.features_record(NAME, bucket): expected for bucket, expected in spec.buckets.items()},
        )

    def instance_scores(self, spec: EmbeddingSpec, paths: Paths) -> Iterator[tuple[list[str], np.ndarray]]:
        tensors, _ = load_tensors(paths.features(NAME, TRAINING), spec.training, "np")
        training = unit_vectors(tensors["features"])
        for bucket, expected in spec.buckets.items():
            tensors, _ = load_tensors(paths.features(NAME, bucket), expected, "np")
            ids, features = unpack_ids(tensors["ids"]), unit_vectors(tensors["features"])
            for start in range(0, len(ids), CHUNK):
                block = slice(start, start + CHUNK)
                yield ids[block], (features[block] @ training.T).astype(np.float64)


@cache  # a large model's files are read once when planning, not for each bucket
def _vision_digest(source: str) -> str:
    return vision_digest(source, KEY)


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Each row [n, d] scaled to length one; a row of zeros stays."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
