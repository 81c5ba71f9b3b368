"""Methods that unlearn the query: which training images does the model then explain worse?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from guda.config.model import NoiseSchedule
from guda.config.section import Section, Seed
from guda.config.training import Optimisation
from guda.core.errors import ConfigError
from guda.core.paths import BASE, TRAINING, Paths
from guda.core.seeding import chosen
from guda.core.spec import Spec
from guda.methods.instance import Aggregation, InstanceLevel, InstanceSpec, part
from guda.methods.method import Needs
from guda.methods.parameters import check_expressions

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

# Keys and values of a text-to-image network's cross-attention.
KEYS_AND_VALUES = [r"attn2\.to_[kv]"]
PARAMETERS = "attribution.abu.parameters"


class Influence(Section):
    """On what the base model and the one that unlearned the query are compared."""

    seed: Seed = Field(0, description="Choice of the training images, and noise.")
    train_sample: PositiveInt | None = Field(
        500, description="Training images that are asked, chosen by a hash of their ids; null: all."
    )
    loss_steps: PositiveInt = Field(
        10, description="Diffusion steps, evenly spaced, at which their losses are compared; one noise at each."
    )

    def sampled_rows(self, ids: list[str]) -> list[int]:
        """Rows of the training images that are asked."""
        return chosen(ids, self.train_sample or len(ids), "influence", self.seed)


class AbuInfluence(Influence):
    """Gradient ascent on the query's loss, divided by the Fisher information."""

    steps: PositiveInt = Field(1, description="Steps up the query's loss.")
    step_size: PositiveFloat = Field(1.0e-3, description="eta, the factor of each step; 1: a Newton step.")
    damping: PositiveFloat = Field(1.0e-3, description="Added to the Fisher information, relative to its mean.")
    query_steps: PositiveInt = Field(
        100, description="Diffusion steps, evenly spaced, that the query's loss is averaged over; one noise at each."
    )
    parameters: list[str] | None = Field(
        None,
        min_length=1,
        description="Only these weights move: regular expressions, each found in the names of some; null: all, but of "
        "text-to-image models the keys and values of cross-attention.",
    )

    @field_validator("parameters")
    @classmethod
    def _regular_expressions(cls, value: list[str] | None) -> list[str] | None:
        check_expressions(value or [])
        return value


class Fisher(Section):
    """The diagonal of the Fisher information, from the squared gradients of single losses."""

    images: PositiveInt = Field(500, description="Training images, chosen by a hash of their ids.")
    steps: PositiveInt = Field(4, description="Losses of each, at diffusion steps spread over the whole process.")
    seed: Seed = Field(0, description="Choice of the images, their steps and noise.")


class MucsInfluence(Influence, Optimisation):
    """Bounded ascent on the query's loss, while the training images' is held down."""

    steps: PositiveInt = Field(10, description="Optimiser steps per query.")
    batch_size: PositiveInt = Field(32, description="Training images, and as many noises of the query, per step.")
    learning_rate: PositiveFloat = Field(3.0e-4, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    decay: Literal["cosine", "constant"] = Field("constant", description="Learning rate after the warm-up.")
    forget_weight: PositiveFloat = Field(0.2, description="Weight lambda of the query's bounded loss.")


class Abu(Aggregation, AbuInfluence):
    top_k: PositiveInt = Field(15, description=Aggregation.model_fields["top_k"].description)
    fisher: Fisher = Field(Fisher(), description="Fisher information, computed once for a base model.")


class Mucs(Aggregation, MucsInfluence):
    top_k: PositiveInt = Field(15, description=Aggregation.model_fields["top_k"].description)


class FisherSpec(Spec):
    stage, version = "fisher", 1
    base: str
    images: str
    noise_schedule: NoiseSchedule
    settings: Fisher


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
    noise_schedule: NoiseSchedule
    settings: AbuInfluence


class MucsSpec(Spec):
    stage, version = "mucs", 1
    base: str
    images: str
    samples: str  # digest of the bucket of queries
    noise_schedule: NoiseSchedule
    settings: MucsInfluence


class InfluenceScoresSpec(InstanceSpec):
    stage, version = "influence_scores", 1
    influence: dict[str, str]  # digest of each bucket's influence
    fisher: str | None


class QueryUnlearning(InstanceLevel[InfluenceScoresSpec]):
    """An image's score is how much its loss grows, as the jobs of the rule `influence` computed it by buckets."""

    kind = InfluenceScoresSpec

    def settings(self, experiment: Experiment) -> Abu | Mucs:
        """The method's section of the configuration."""
        return getattr(experiment.config.attribution, self.name)

    def influence_spec(self, experiment: Experiment, bucket: str) -> AbuSpec | MucsSpec:
        """Spec of the job that computes a bucket's influence."""
        raise NotImplementedError

    def fisher(self, experiment: Experiment) -> str | None:
        """Digest of the Fisher information, where the method needs it."""
        return None

    def spec(self, experiment: Experiment) -> InfluenceScoresSpec:
        return InfluenceScoresSpec(
            members={group: experiment.group_digest(group) for group in experiment.groups},
            influence={bucket: self.influence_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            fisher=self.fisher(experiment),
            settings=part(self.settings(experiment), Aggregation),
        )

    def check(self, experiment: Experiment) -> None:
        """Every group must have some of the images that are asked."""
        ids, settings = list(experiment.dataset.table["id"]), self.settings(experiment)
        sampled = {ids[row] for row in settings.sampled_rows(ids)}
        for group, members in experiment.groups.items():
            if sampled.isdisjoint(members):
                raise ConfigError(
                    f"attribution.{self.name}.train_sample is {settings.train_sample}, but none of the {len(members)} "
                    f"images of group {group!r} is among them; raise it, or set it to null for all"
                )

    def needs(self, spec: InfluenceScoresSpec, paths: Paths) -> Needs:
        files = [*map(paths.group, spec.members), *(paths.influence(self.name, bucket) for bucket in spec.influence)]
        built = {paths.fisher_record(): spec.fisher} if spec.fisher else {}
        per_query = {paths.influence_record(self.name, bucket): digest for bucket, digest in spec.influence.items()}
        return Needs(files, built, per_query)

    def train_ids(self, spec: InfluenceScoresSpec, paths: Paths) -> list[str]:
        return self.compute.train_ids(self, spec, paths)


class AbuMethod(QueryUnlearning):
    """AbU: a step up the query's loss, divided by the Fisher information."""

    def settings(self, experiment: Experiment) -> Abu:
        """As configured; of text-to-image models the keys and values of cross-attention move, if none are named."""
        found: Abu = experiment.config.attribution.abu
        if experiment.config.text_to_image is None or found.parameters is not None:
            return found
        return found.model_copy(update={"parameters": KEYS_AND_VALUES})

    def influence_spec(self, experiment: Experiment, bucket: str) -> AbuSpec:
        settings = self.settings(experiment)
        return AbuSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            fisher=self.fisher_spec(experiment).digest(),
            mirror=experiment.config.training.flip,
            noise_schedule=experiment.config.noise_schedule,
            settings=part(settings, AbuInfluence),
        )

    def fisher_spec(self, experiment: Experiment) -> FisherSpec:
        """Spec of the Fisher information, computed once for a base model; of a text-to-image one for what moves."""
        settings = self.settings(experiment)
        values = {
            "base": experiment.model_digest(BASE),
            "images": experiment.scored_digest(TRAINING),
            "noise_schedule": experiment.config.noise_schedule,
            "settings": settings.fisher,
        }
        if experiment.config.text_to_image is None:
            return FisherSpec(**values)
        return PartialFisherSpec(**values, parameters=settings.parameters)

    def fisher(self, experiment: Experiment) -> str:
        return self.fisher_spec(experiment).digest()


class MucsMethod(QueryUnlearning):
    """MUCS: bounded ascent on the query's loss, mirrored by descent on the training images'."""

    def influence_spec(self, experiment: Experiment, bucket: str) -> MucsSpec:
        return MucsSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            noise_schedule=experiment.config.noise_schedule,
            settings=part(self.settings(experiment), MucsInfluence),
        )
