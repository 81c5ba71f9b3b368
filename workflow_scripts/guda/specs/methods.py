"""Scores of groups by each method."""

from __future__ import annotations

from guda import config
from guda.core.spec import Spec
from guda.specs.scoring import ElboSettings


class CounterfactualSpec(Spec):
    stage, version = "counterfactual", 2
    elbo: ElboSettings
    base: str
    models: dict[str, str]  # digest of each group's counterfactual model
    model_names: dict[str, str]  # its name under models/
    neighbors: dict[str, str]  # digest of the neighbours by which groups were unlearned here, by name under neighbors/
    buckets: dict[str, str]
    calibration: str | None
    members: dict[str, str]  # digest of each group, where calibration needs its members


class GuidedCounterfactualSpec(CounterfactualSpec):
    stage, version = "guided_counterfactual", 2
    conditional: str  # digest of the network whose guidance the counterfactual models were unlearned by


class LikelihoodRatioSpec(Spec):
    stage, version = "likelihood_ratio", 2
    elbo: ElboSettings
    model: str
    groups: list[str]  # in the order of the labels
    buckets: dict[str, str]


class MeanPosteriorSpec(Spec):
    stage, version = "mean_posterior", 2
    elbo: ElboSettings
    model: str
    groups: list[str]
    buckets: dict[str, str]


class NearestSpec(Spec):
    stage, version = "nearest", 1
    images: str
    members: dict[str, str]
    buckets: dict[str, str]
    settings: config.Nearest


class EmbeddingSpec(Spec):
    stage, version = "embedding", 1
    images: str
    training: str  # digest of the training images' features
    buckets: dict[str, str]  # digest of the features of each bucket
    members: dict[str, str]
    settings: config.Aggregation


class GradientScoresSpec(Spec):
    stage, version = "gradient_scores", 1
    method: str
    images: str
    members: dict[str, str]
    training: str  # digest of the training images' features
    queries: dict[str, str]  # digest of the features of each bucket
    settings: config.Gradients


class InfluenceScoresSpec(Spec):
    stage, version = "influence_scores", 1
    members: dict[str, str]
    influence: dict[str, str]  # digest of each bucket's influence
    fisher: str | None
    settings: config.Aggregation


class RandomSpec(Spec):
    stage, version = "random", 1
    groups: list[str]
    buckets: dict[str, str]
    seed: int


class PromptOverlapSpec(Spec):
    stage, version = "prompt_overlap", 1
    descriptors: dict[str, list[str]]  # of each group, which is a style
    queries: str  # digest of the table of the queries, which has their prompts
