"""What each job's result depends on, as one canonical JSON text per job.

A spec names its inputs by the digests of *their* specs, so that any change upstream changes every spec downstream.
Snakemake compares specs to plan; artifacts store their own; readers compare it with the one they expect. A stage
whose numbers change for the same spec raises its `version`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from guda import config
from guda.errors import GudaError


def digest(text: str | bytes) -> str:
    """20 hex digits of SHA-256."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:20]


def digest_lines(lines: Iterable[str]) -> str:
    """Digest of a list of lines, in order."""
    return digest("\n".join(lines))


class Spec(BaseModel):
    """Base of all specs: `stage` and `version` stand in the canonical text beside the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: ClassVar[str]
    version: ClassVar[int]

    def canonical(self) -> str:
        """The one JSON text of this spec: sorted keys, no spaces."""
        values = self.model_dump(mode="json") | {"stage": self.stage, "version": self.version}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        return digest(self.canonical())

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read a canonical text, as given to a stage's --spec. Raises GudaError."""
        problem = f"--spec is no valid spec of stage {cls.stage}"
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise GudaError(f"{problem}: not JSON ({error})") from None
        if not isinstance(values, dict):
            raise GudaError(f"{problem}: expected a JSON object, found {text}")
        stage, version = values.pop("stage", None), values.pop("version", None)
        if (stage, version) != (cls.stage, cls.version):
            raise GudaError(f"{problem}: this is stage {stage} version {version}, not {cls.stage} {cls.version}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise GudaError(f"{problem}: {'; '.join(lines)}") from None


def parse_any(kinds: Iterable[type[Spec]], text: str) -> Spec:
    """Read the canonical text of one of several kinds of specs, told apart by their stage. Raises GudaError."""
    first, *others = kinds
    try:
        stage = json.loads(text)["stage"]
    except (ValueError, LookupError, TypeError):
        return first.parse(text)
    return next((kind for kind in others if kind.stage == stage), first).parse(text)


class ImagesSpec(Spec):
    stage, version = "images", 1
    dataset: str
    content: str  # digest of (id, sha256) of every image, and of the shape that they are converted to, if they are


class TableSpec(Spec):
    stage, version = "table", 1
    dataset: str
    content: str  # digest of all rows and columns


class GroupSpec(Spec):
    stage, version = "group", 1
    dataset: str
    group: str
    members: str  # digest of the members' ids


class ExclusionSpec(Spec):
    stage, version = "exclusion", 1
    members: str  # digest of the ids that are left out, in the order of text


class GroupSizesSpec(Spec):
    stage, version = "group_sizes", 1
    members: dict[str, str]  # digest of each group


class NeighborsSpec(Spec):
    stage, version = "neighbors", 1
    images: str
    group: str
    n_neighbors: int


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


class QueriesSpec(Spec):
    stage, version = "queries", 1
    base: str
    noise_schedule: config.NoiseSchedule
    seed: int
    sampler: str
    sampling_steps: int
    ids: list[str]


class QueryFilesSpec(Spec):
    stage, version = "query_files", 1
    bucket: str
    buckets: int
    shape: list[int]  # [C, H, W] of the training images, which queries are brought to
    content: str  # digest of (id, sha256) of every image of the bucket


class CalibrationSpec(Spec):
    stage, version = "calibration", 1
    images: str
    count: int
    seed: int


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


class LikelihoodTableSpec(Spec):
    stage, version = "likelihood_table", 1
    methods: list[str]  # names in the tables, in order
    scores: dict[str, str]  # digest of each method's spec, by the method's name in the tables
    files: dict[str, str]  # name of each method's score file
    models: dict[str, dict[str, str]]  # name of each method's model of each group
    likelihoods: dict[str, str]  # digest of each model's likelihoods, by the model's name
    bootstrap_samples: int
    seed: int


class CounterfactualSpec(Spec):
    stage, version = "counterfactual", 1
    elbo: ElboSettings
    base: str
    models: dict[str, str]  # digest of each group's counterfactual model
    model_names: dict[str, str]  # its name under models/
    neighbors: dict[str, str]  # digest of the neighbours by which groups were unlearned here, by name under neighbors/
    buckets: dict[str, str]
    calibration: str | None
    members: dict[str, str]  # digest of each group, where calibration needs its members


class GradientsSpec(Spec):
    stage, version = "gradients", 1
    base: str
    noise_schedule: config.NoiseSchedule
    samples: str  # digest of the training images, or of the bucket of queries
    function: str  # name in guda.attribution.features.FUNCTIONS
    normalise: bool
    steps: list[int]
    own_noise: bool  # else all images have the same
    seed: int
    projection_dim: int


class GradientScoresSpec(Spec):
    stage, version = "gradient_scores", 1
    method: str
    images: str
    members: dict[str, str]
    training: str  # digest of the training images' features
    queries: dict[str, str]  # digest of the features of each bucket
    settings: config.Gradients


class GuidedCounterfactualSpec(CounterfactualSpec):
    stage, version = "guided_counterfactual", 1
    conditional: str  # digest of the network whose guidance the counterfactual models were unlearned by


class LikelihoodRatioSpec(Spec):
    stage, version = "likelihood_ratio", 1
    elbo: ElboSettings
    model: str
    groups: list[str]  # in the order of the labels
    buckets: dict[str, str]


class MeanPosteriorSpec(Spec):
    stage, version = "mean_posterior", 1
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


class EmbeddingSpec(Spec):
    stage, version = "embedding", 1
    images: str
    training: str  # digest of the training images' features
    buckets: dict[str, str]  # digest of the features of each bucket
    members: dict[str, str]
    settings: config.Aggregation


class FisherSpec(Spec):
    stage, version = "fisher", 1
    base: str
    images: str
    noise_schedule: config.NoiseSchedule
    settings: config.Fisher


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


class RankingsSpec(Spec):
    stage, version = "rankings", 1
    scores: dict[str, str]  # digest of each method's spec, by the method's name in the tables
    files: dict[str, str]  # name of each method's score file
    queries: dict[str, str]  # digest of each bucket


class QueryTableSpec(Spec):
    stage, version = "query_table", 1
    buckets: dict[str, str]
    known: str | None  # digest of the columns that queries from files come with


class MetricsSpec(Spec):
    stage, version = "metrics", 1
    rankings: str
    oracles: list[str]  # names in the tables; the first is reported against
    methods: list[str]
    files: dict[str, str]
    settings: config.Metrics


class SignificanceSpec(Spec):
    stage, version = "significance", 1
    rankings: str
    oracles: list[str]  # names in the tables; the first is reported against
    methods: list[str]  # the others are compared with the first
    bootstrap_samples: int
    seed: int
    decisive_ratio: float


class SourcesSpec(Spec):
    stage, version = "metrics_by_source", 1
    metrics: MetricsSpec
    images: str
    table: str
    members: dict[str, str]
    buckets: dict[str, str]
    query_table: str | None  # digest of the query table, where that says what the queries' contents are


class SweepSpec(Spec):
    stage, version = "sweep", 1
    scores: dict[str, str]  # digest of each variant's scores, and of each oracle's, by the score file's name
    oracles: list[str]  # the one that is reported against first, the one to choose by second
    methods: dict[str, str]  # the method that each variant is one of
    variants: dict[str, dict[str, Any]]  # settings of each, by the column that shows them
    metrics: config.Metrics


class SweepFigureSpec(Spec):
    stage, version = "sweep_figure", 1
    sweep: str


class FigureSpec(Spec):
    stage, version = "figure", 1
    rankings: str
    buckets: dict[str, str]
    method: str
    oracle: str
    settings: config.Figure


class LdsSpec(Spec):
    stage, version = "lds", 1
    rankings: str
    methods: list[str]  # names in the tables
    groups: list[str]
    models: list[str]  # digest of each subset's model
    buckets: dict[str, str]
    elbo: ElboSettings
    settings: config.Lds
    bootstrap_samples: int
    bootstrap_seed: int


class RemovalSetsSpec(Spec):
    stage, version = "removal_sets", 1
    rankings: str
    images: str
    members: dict[str, str]  # digest of each group
    methods: list[str]  # names in the tables
    instance_level: list[str]  # those that score single training images
    oracle_seed: int
    settings: config.Removal


class RemovalSpec(Spec):
    stage, version = "removal", 1
    sets: str
    base: str
    train: TrainSpec  # of the retrained models, but for what is left out
    members: dict[str, str]
    buckets: dict[str, str]
    elbo: ElboSettings
    generation: QueriesSpec | None  # of the queries, but for base and ids; None: they were given
    bootstrap_samples: int
    bootstrap_seed: int


class RemovalFigureSpec(Spec):
    stage, version = "removal_figure", 1
    removal: str
