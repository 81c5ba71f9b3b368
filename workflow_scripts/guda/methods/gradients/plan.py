"""Similarity of gradients: TRAK, D-TRAK and DAS, on projected gradients computed by separate jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from guda.config.model import NoiseSchedule
from guda.config.section import Seed
from guda.core.errors import ConfigError
from guda.core.paths import BASE, TRAINING, Paths
from guda.core.spec import Spec
from guda.evaluation.scores import Scores
from guda.methods.instance import Aggregation, Similarity, SimilaritySpec, part
from guda.methods.method import Needs
from guda.methods.parameters import check_expressions
from guda.models.noise_schedule import elbo_steps

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

GRADIENTS = 2**26  # gradient entries per batch: 256 MiB
CROSS_ATTENTION = [r"\.attn2\."]  # in the names of the weights trained by this kind of fine-tuning
LORA, OF_ADAPTERS = "lora", [r"\.lora_B\."]


class Gradients(Aggregation):
    """Settings of the methods that compare gradients."""

    aggregate: Literal["sum", "mean", "top_k"] = Field(
        "sum",
        description="A group's score: sum, mean, or top_k (the mean of the `top_k` highest images). Only the sum is "
        "an influence whose size means something. The mean of the ten highest orders groups better where "
        "noise is strong.",
    )
    steps: PositiveInt = Field(
        8,
        description="Diffusion steps that a gradient is averaged over, spaced geometrically over the window of "
        "elbo.steps. More are less noisy and cost proportionally; the papers use 10 or 100.",
    )
    projection_dim: PositiveInt = Field(
        1024,
        description="Dimension of the random projection of gradients. Half the number of training images is plenty, "
        "and more than 8192 are slow to solve for; the papers use 4096 to 32768 for 5,000 to 50,000 "
        "images.",
    )
    damping: Literal["auto"] | PositiveFloat = Field(
        "auto",
        description="Damping of the kernel, relative to its mean eigenvalue; these methods are more sensitive to it "
        "than to anything else. auto: chosen on held-out training images, and reported in the record "
        "beside the scores. Or a number.",
    )
    own_noise: bool = Field(
        False,
        description="Independent noise for each image at a step, instead of the same for all. With common noise, "
        "gradients differ by image and not by chance; with independent noise, a sum over a group "
        "accumulates noise.",
    )
    seed: Seed = Field(0, description="Random seed of the noise and of the projection.")

    @field_validator("damping", mode="before")
    @classmethod
    def _auto_or_a_number(cls, value: Any) -> Any:
        if value != "auto" and (not isinstance(value, int | float) or value <= 0):
            raise ValueError(f"expected auto or a positive number (found {value!r})")
        return value


class ComparedGradients(Gradients):
    parameters: Literal["lora"] | list[str] | None = Field(
        None,
        description="Weights to differentiate by: a list of regular expressions matched against weight names, as in "
        "[attn2, conv_out]. null: all, or those that `text_to_image.trainable` names. lora (text-to-image"
        " only): adapters of rank `text_to_image.anchors.lora_rank`, far fewer numbers for a large "
        "network.",
    )

    @field_validator("parameters", mode="before")
    @classmethod
    def _lora_or_regular_expressions(cls, value: Any) -> Any:
        if value in (None, LORA):
            return value
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise ValueError(f"expected lora, a list of regular expressions, or null (found {value!r})")
        check_expressions(value)
        return value


class GradientsSpec(Spec):
    stage, version = "gradients", 1
    base: str
    noise_schedule: NoiseSchedule
    samples: str  # digest of the training images, or of the bucket of queries
    function: str  # name in guda.methods.gradients.features.FUNCTIONS
    normalize: bool
    steps: list[int]
    own_noise: bool  # False: all images share the noise of a step
    seed: int
    projection_dim: int


class PartialGradientsSpec(GradientsSpec):
    stage, version = "partial_gradients", 1
    parameters: list[str]  # regular expressions for the names of the differentiated weights
    lora_rank: int | None  # rank of adapters added to the network first; None: no adapters


class GradientScoresSpec(SimilaritySpec):
    stage, version = "gradient_scores", 1
    method: str
    training: str  # digest of the training images' features
    queries: dict[str, str]  # digest of the features of each bucket
    settings: Gradients


class GradientSimilarity(Similarity[GradientScoresSpec]):
    """A method based on gradients of a function of the base model's output, named in `features.FUNCTIONS`.

    With `of_output` (DAS), gradients are scaled to length 1 at each diffusion step, and a score is (k(x, i) r_i)^2 with
    the residual r_i: the squared change of the output. Without it (TRAK, D-TRAK), a score is k(x, i).
    """

    kind = GradientScoresSpec

    def __init__(self, name: str, function: str, of_output: bool = False):
        super().__init__(name)
        self.function = function
        self.of_output = of_output

    def settings(self, experiment: Experiment) -> ComparedGradients:
        return getattr(experiment.config.attribution, self.name)

    def check(self, experiment: Experiment) -> None:
        if self.settings(experiment).parameters == LORA and experiment.config.text_to_image is None:
            raise ConfigError(
                f"attribution.{self.name}.parameters: lora is for text-to-image models; give regular expressions for "
                "the names of weights, or null for all"
            )

    def features_spec(self, experiment: Experiment, bucket: str) -> GradientsSpec:
        """Spec of the features of the training images (TRAINING), or of a bucket of queries."""
        settings = self.settings(experiment)
        window = experiment.config.elbo.steps.model_copy(update={"kind": "geometric", "count": settings.steps})
        spec = GradientsSpec(
            base=experiment.model_digest(BASE),
            noise_schedule=experiment.config.noise_schedule,
            samples=experiment.scored_digest(bucket),
            function=self.function,
            normalize=self.of_output,
            steps=elbo_steps(window).tolist(),
            own_noise=settings.own_noise,
            seed=settings.seed,
            projection_dim=settings.projection_dim,
        )
        parameters, text = settings.parameters, experiment.config.text_to_image
        if parameters == LORA and text is not None:
            return PartialGradientsSpec(**dict(spec), parameters=OF_ADAPTERS, lora_rank=text.anchors.lora_rank)
        if parameters is None and text is not None and text.trainable == "cross_attention":
            parameters = CROSS_ATTENTION
        if parameters is None:
            return spec
        return PartialGradientsSpec(**dict(spec), parameters=parameters, lora_rank=None)

    def spec(self, experiment: Experiment) -> GradientScoresSpec:
        return GradientScoresSpec(
            method=self.name,
            images=experiment.images_digest,
            members={group: experiment.group_digest(group) for group in experiment.groups},
            training=self.features_spec(experiment, TRAINING).digest(),
            queries={bucket: self.features_spec(experiment, bucket).digest() for bucket in experiment.buckets},
            settings=part(self.settings(experiment), Gradients),
        )

    def needs(self, spec: GradientScoresSpec, paths: Paths) -> Needs:
        files = [paths.images(), *map(paths.group, spec.members)]
        files += [paths.features(spec.method, bucket) for bucket in (TRAINING, *spec.queries)]
        return Needs(
            files,
            {paths.features_record(spec.method, TRAINING): spec.training},
            {paths.features_record(spec.method, bucket): expected for bucket, expected in spec.queries.items()},
        )

    def scores(self, spec: GradientScoresSpec, paths: Paths) -> Scores:
        damping = self.compute.damping(spec, paths)
        return replace(super().scores(spec, paths), details={"damping": damping})
