"""Tables and figures."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from guda import config
from guda.core.spec import Spec
from guda.specs.data import QueriesSpec
from guda.specs.models import TrainSpec
from guda.specs.scoring import ElboSettings
from guda.specs.text_to_image import FineTuneSpec, PromptedQueriesSpec


class RankingsSpec(Spec):
    stage, version = "rankings", 4
    scores: dict[str, str]  # digest of each method's spec, by the method's name in the tables
    files: dict[str, str]  # name of each method's score file
    queries: dict[str, str]  # digest of each bucket


class QueryTableSpec(Spec):
    stage, version = "query_table", 1
    buckets: dict[str, str]
    known: str | None  # digest of the columns that queries from files come with


class MetricsSpec(Spec):
    stage, version = "metrics", 5
    rankings: str
    oracles: list[str]  # names in the tables; the first is reported against
    methods: list[str]
    files: dict[str, str]
    settings: config.Metrics


class ExemplarsSpec(Spec):
    stage, version = "exemplars", 1
    rankings: str
    query_table: str
    methods: list[str]  # names in the tables, those of oracles first
    files: dict[str, str]  # name of each one's score file
    bootstrap_samples: int
    seed: int


class SignificanceSpec(Spec):
    stage, version = "significance", 3
    rankings: str
    oracles: list[str]  # names in the tables; the first is reported against
    methods: list[str]  # the others are compared with the first
    bootstrap_samples: int
    seed: int
    decisive_ratio: float


class ReliabilitySpec(Spec):
    stage, version = "reliability", 1
    scores: dict[str, str]  # digest of the spec of each method that is averaged over runs, by its name
    oracle: dict[str, str]  # of the oracle that is reported against, where there is one


class QualitySpec(Spec):
    stage, version = "quality", 1
    base: str
    models: dict[str, str]  # digest of each unlearned model, by its name
    groups: dict[str, str]  # the group that each has unlearned
    models_of: dict[str, list[str]]  # names of the models of each method whose scores say how far groups were forgotten
    scores: dict[str, str]  # digest of the spec of these scores
    terms: dict[str, str]  # digest of likelihood terms of the calibration sample under models that have them
    members: dict[str, str]  # digest of each group, where there are such terms
    features: dict[str, str]  # digest of the features of the training images and of buckets of generated queries
    unseen: str  # why there are none of these


class CurvesSpec(Spec):
    stage, version = "curves", 1
    models: dict[str, str]  # digest of the base model and of each unlearned one


class CurvesFigureSpec(Spec):
    stage, version = "curves_figure", 1
    curves: str


class SamplesFigureSpec(Spec):
    stage, version = "samples_figure", 1
    images: str
    buckets: dict[str, str]  # digest of each bucket of queries that some are shown of
    generated: bool


class SourcesSpec(Spec):
    stage, version = "metrics_by_source", 5
    metrics: MetricsSpec
    images: str
    table: str
    members: dict[str, str]
    buckets: dict[str, str]
    query_table: str | None  # digest of the query table, where that says what the queries' contents are


class ScreenSpec(Spec):
    stage, version = "screen", 2
    scores: str
    settings: config.Screen


class SweepSpec(Spec):
    stage, version = "sweep", 5
    scores: dict[str, str]  # digest of each variant's scores, and of each oracle's, by the score file's name
    oracles: list[str]  # the one that is reported against first, the one to choose by second
    methods: dict[str, str]  # the method that each variant is one of
    variants: dict[str, dict[str, Any]]  # settings of each, by the column that shows them
    metrics: config.Metrics


class SweepFigureSpec(Spec):
    stage, version = "sweep_figure", 1
    sweep: str


class FigureSpec(Spec):
    stage, version = "figure", 2
    rankings: str
    buckets: dict[str, str]
    method: str
    oracle: str  # its name in the tables; '': there is none
    settings: config.Figure


class RedrawnSpec(Spec):
    stage, version = "redrawn", 1
    rankings: str
    method: str  # name in the tables
    base: str
    models: dict[str, str]  # digest of the model without each group
    model_names: dict[str, str]
    queries: list[QueriesSpec | PromptedQueriesSpec]  # those of each bucket, as the base model drew them
    groups: int  # of each query, the first ones


class MapsSpec(Spec):
    stage, version = "maps", 1
    rankings: str
    method: str  # name in the tables
    base: str
    models: dict[str, str]  # digest of the model without each group
    model_names: dict[str, str]
    samples: dict[str, str]  # digest of each bucket that holds some of the images, as networks see it
    ids: list[str]
    elbo: ElboSettings
    groups: int  # of each image, the first ones
    noises: int


class PageSpec(Spec):
    stage, version = "page", 1
    title: str
    rankings: str
    metrics: str  # '': nothing is retrained
    quality: str
    curves: str
    query_table: str
    images: str
    members: dict[str, str]  # digest of each group
    buckets: dict[str, str]
    methods: list[str]  # names in the tables, the one that is shown first before all others
    oracles: list[str]
    files: dict[str, str]  # name of each method's score file
    redrawn: str  # '': nothing is drawn again
    maps: str  # '': there are none
    unlearned: str  # name of the method whose models were unlearned; '': none is
    settings: config.Page


class LikelihoodTableSpec(Spec):
    stage, version = "likelihood_table", 2
    methods: list[str]  # names in the tables, in order
    scores: dict[str, str]  # digest of each method's spec, by the method's name in the tables
    files: dict[str, str]  # name of each method's score file
    models: dict[str, dict[str, str]]  # name of each method's model of each group
    likelihoods: dict[str, str]  # digest of each model's likelihoods, by the model's name
    bootstrap_samples: int
    seed: int


class TrainedSubset(BaseModel):
    """A model trained on the groups that a subset keeps, and on images in no group."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    digest: str
    kept: list[str]


class LdsSpec(Spec):
    stage, version = "lds", 3
    rankings: str
    base: str
    methods: list[str]  # names in the tables
    fitted: list[str]  # those that are made of the subsets, and fitted anew to be measured on others
    groups: list[str]
    subsets: list[TrainedSubset]
    buckets: dict[str, str]
    elbo: ElboSettings
    sizes: str
    alpha: float
    bootstrap_samples: int
    bootstrap_seed: int


class RemovalSetsSpec(Spec):
    stage, version = "removal_sets", 3
    rankings: str
    images: str
    members: dict[str, str]  # digest of each group
    methods: list[str]  # names in the tables
    instance_level: list[str]  # those that score single training images
    oracle_seed: int
    settings: config.Removal


class RemovalSpec(Spec):
    stage, version = "removal", 2
    sets: str
    base: str
    train: TrainSpec  # of the retrained models, but for what is left out
    members: dict[str, str]
    buckets: dict[str, str]
    elbo: ElboSettings
    generation: QueriesSpec | None  # of the queries, but for base and ids; None: they were given
    bootstrap_samples: int
    bootstrap_seed: int

    @property
    def seen(self) -> dict[str, str]:
        """Digest of each bucket as networks see it."""
        return self.buckets

    def regenerated(self, model: str, bucket: str, ids: list[str]) -> Spec:
        """Spec of the images that the model of this digest makes of the noise of a bucket's queries."""
        if self.generation is None:
            raise ValueError("the queries were given; no model makes them again")
        return self.generation.model_copy(update={"base": model, "ids": ids})


class LatentRemovalSpec(RemovalSpec):
    stage, version = "latent_removal", 1
    # Where the base says how models are trained from scratch, it is how they are fine-tuned.
    train: FineTuneSpec  # type: ignore[assignment]
    scored: dict[str, str]  # digest of each bucket as networks see it
    # Of the queries, but for base, prompts and ids; None: they were given.
    generation: PromptedQueriesSpec | None  # type: ignore[assignment]
    prompts: dict[str, str]  # digest of each bucket's prompts

    @property
    def seen(self) -> dict[str, str]:
        return self.scored

    def regenerated(self, model: str, bucket: str, ids: list[str]) -> Spec:
        if self.generation is None:
            raise ValueError("the queries were given; no model makes them again")
        return self.generation.model_copy(update={"base": model, "prompts": self.prompts[bucket], "ids": ids})


class RemovalFigureSpec(Spec):
    stage, version = "removal_figure", 1
    removal: str
