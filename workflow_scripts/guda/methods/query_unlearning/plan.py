"""Methods that unlearn the query and score training images by how much worse the model then explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from guda.config.model import NoiseSchedule
from guda.config.section import Section, Seed
from guda.config.training import Optimization
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
    """Images, steps and noise on which the base model and the model that unlearned the query are compared."""

    seed: Seed = Field(0, description="Random seed of the choice of training images and of the noise.")
    train_sample: PositiveInt | None = Field(
        500,
        description="Training images to evaluate, chosen by a hash of their ids; null: all. The cost per query grows "
        "with it. Every group needs some: the more, the less noisy its score.",
    )
    loss_steps: PositiveInt = Field(
        10,
        description="Diffusion steps, evenly spaced over the whole process, at which their losses are compared, with "
        "one noise sample each.",
    )

    def sampled_rows(self, ids: list[str]) -> list[int]:
        """Rows of the sampled training images."""
        return chosen(ids, self.train_sample or len(ids), "influence", self.seed)


class AbuInfluence(Influence):
    """Gradient ascent on the query's loss, preconditioned by the Fisher information."""

    steps: PositiveInt = Field(1, description="Steps up the query's loss.")
    step_size: PositiveFloat = Field(
        1.0e-3,
        description="Step size; 1 is a Newton step, far too large for a network. Small enough that losses hardly "
        "change is right, as long as rounding (1.0e-7 of a loss) does not show.",
    )
    damping: PositiveFloat = Field(
        1.0e-3,
        description="Damping of the Fisher information, relative to its mean. A small value lets unimportant weights "
        "move freely. Lower it until agreement stops improving, and `step_size` with it if the step gets "
        "too large.",
    )
    query_steps: PositiveInt = Field(
        100,
        description="Diffusion steps, evenly spaced, that the query's loss is averaged over, with one noise sample "
        "each.",
    )
    parameters: list[str] | None = Field(
        None,
        min_length=1,
        description='Weights to update: regular expressions matched against weight names, as in ["attentions"]. null:'
        ' all, or the keys and values of cross-attention for text-to-image models ([""] selects all '
        "there, too).",
    )

    @field_validator("parameters")
    @classmethod
    def _regular_expressions(cls, value: list[str] | None) -> list[str] | None:
        check_expressions(value or [])
        return value


class Fisher(Section):
    """Diagonal of the Fisher information, estimated from squared per-sample gradients."""

    images: PositiveInt = Field(500, description="Training images, chosen by a hash of their ids.")
    steps: PositiveInt = Field(4, description="Losses per image, at diffusion steps spread over the whole process.")
    seed: Seed = Field(0, description="Random seed of the choice of images, their steps and noise.")


class MucsInfluence(Influence, Optimization):
    """Bounded ascent on the query's loss, with descent on the training images' loss."""

    steps: PositiveInt = Field(10, description="Optimizer steps per query.")
    batch_size: PositiveInt = Field(
        32, description="Training images, and as many noise samples of the query, per step."
    )
    learning_rate: PositiveFloat = Field(
        3.0e-4, description="Peak learning rate of AdamW; choose it together with `steps`."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear learning rate warm-up; fewer than `steps`.")
    decay: Literal["cosine", "constant"] = Field(
        "constant", description="Learning rate schedule after the warm-up: cosine or constant."
    )
    forget_weight: PositiveFloat = Field(
        0.2, description="lambda, the weight of the query's bounded loss; that of the training images has weight 1."
    )


class Abu(Aggregation, AbuInfluence):
    top_k: PositiveInt = Field(
        15,
        description="top_k: number of images. To first order a group's effect is the sum over its images, but most "
        "have none on a given query and add noise.",
    )
    fisher: Fisher = Field(
        Fisher(),
        description="The diagonal Fisher information, estimated once per base model from the squared gradients of "
        "`steps` losses of each of `images` training images. A few thousand losses suffice.",
    )


class Mucs(Aggregation, MucsInfluence):
    top_k: PositiveInt = Field(15, description="top_k: number of images.")


class FisherSpec(Spec):
    stage, version = "fisher", 1
    base: str
    images: str
    noise_schedule: NoiseSchedule
    settings: Fisher


class PartialFisherSpec(FisherSpec):
    stage, version = "partial_fisher", 1
    parameters: list[str]  # regular expressions for the names of the weights included


class AbuSpec(Spec):
    stage, version = "abu", 1
    base: str
    images: str
    samples: str  # digest of the bucket of queries
    fisher: str
    mirror: bool  # whether images are flipped in training
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
    """An image's score is the increase of its loss, computed per bucket by jobs of the rule `influence`."""

    kind = InfluenceScoresSpec

    def settings(self, experiment: Experiment) -> Abu | Mucs:
        """The method's section of the configuration."""
        return getattr(experiment.config.attribution, self.name)

    def influence_spec(self, experiment: Experiment, bucket: str) -> AbuSpec | MucsSpec:
        """Spec of the job that computes a bucket's influence."""
        raise NotImplementedError

    def fisher(self, experiment: Experiment) -> str | None:
        """Digest of the Fisher information, if the method needs it."""
        return None

    def spec(self, experiment: Experiment) -> InfluenceScoresSpec:
        return InfluenceScoresSpec(
            members={group: experiment.group_digest(group) for group in experiment.groups},
            influence={bucket: self.influence_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            fisher=self.fisher(experiment),
            settings=part(self.settings(experiment), Aggregation),
        )

    def check(self, experiment: Experiment) -> None:
        """Check that every group has some of the sampled images."""
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
    """AbU: gradient ascent on the query's loss, preconditioned by the Fisher information."""

    def settings(self, experiment: Experiment) -> Abu:
        """As configured; by default, only cross-attention keys and values of text-to-image models are updated."""
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
        """Spec of the base model's Fisher information; for text-to-image models, of the updated weights only."""
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
    """MUCS: bounded ascent on the query's loss, with descent on the training images' loss."""

    def influence_spec(self, experiment: Experiment, bucket: str) -> MucsSpec:
        return MucsSpec(
            base=experiment.model_digest(BASE),
            images=experiment.scored_digest(TRAINING),
            samples=experiment.scored_digest(bucket),
            noise_schedule=experiment.config.noise_schedule,
            settings=part(self.settings(experiment), MucsInfluence),
        )
