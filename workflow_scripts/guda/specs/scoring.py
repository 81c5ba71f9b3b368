"""What is computed of images under models, bucket by bucket."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from guda import config
from guda.core.spec import Spec


class ElboSettings(BaseModel):
    """Where and with which noise KL terms are computed: part of every spec that reads them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: config.NoiseSchedule
    seed: int
    steps: list[int]
    first: int
    last: int


class ElboSpec(Spec):
    stage, version = "elbo", 1
    model: str
    samples: str  # digest of the bucket of queries, or of the calibration sample
    elbo: ElboSettings


class ConditionalElboSpec(Spec):
    stage, version = "conditional_elbo", 1
    model: str
    label: int
    samples: str
    elbo: ElboSettings


class PosteriorsSpec(Spec):
    stage, version = "posteriors", 1
    model: str
    samples: str
    elbo: ElboSettings


class LikelihoodSettings(BaseModel):
    """Of which queries and how the probability-flow ODE's likelihoods are computed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: config.NoiseSchedule
    queries: int
    first: int
    steps: int
    probes: int
    seed: int


class LikelihoodSpec(Spec):
    stage, version = "likelihood", 1
    model: str
    buckets: dict[str, str]  # digest of each bucket of queries, which some are chosen of
    settings: LikelihoodSettings


class FeatureNoise(BaseModel):
    """With which noise images are shown to the base network."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: config.NoiseSchedule
    step: int
    seed: int


class FeaturesSpec(Spec):
    stage, version = "features", 1
    model: str  # digest of the base model, or of the content of a vision model
    images: str  # digest of the training images, or of a bucket of queries
    noise: FeatureNoise | None  # None: by a vision model


class GradientsSpec(Spec):
    stage, version = "gradients", 1
    base: str
    noise_schedule: config.NoiseSchedule
    samples: str  # digest of the training images, or of the bucket of queries
    function: str  # name in guda.methods.gradient_features.FUNCTIONS
    normalise: bool
    steps: list[int]
    own_noise: bool  # else all images have the same
    seed: int
    projection_dim: int


class FisherSpec(Spec):
    stage, version = "fisher", 1
    base: str
    images: str
    noise_schedule: config.NoiseSchedule
    settings: config.Fisher


class PartialFisherSpec(FisherSpec):
    stage, version = "partial_fisher", 1
    parameters: list[str]  # regular expressions of the names of the weights that it is of


class AbuSpec(Spec):
    stage, version = "abu", 1
    base: str
    images: str
    samples: str  # digest of the bucket of queries
    fisher: str
    mirror: bool  # images are mirrored in training
    noise_schedule: config.NoiseSchedule
    settings: config.AbuInfluence


class MucsSpec(Spec):
    stage, version = "mucs", 1
    base: str
    images: str
    samples: str  # digest of the bucket of queries
    noise_schedule: config.NoiseSchedule
    settings: config.MucsInfluence
