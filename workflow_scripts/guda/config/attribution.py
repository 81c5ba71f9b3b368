"""Section `attribution`: settings of single methods."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from guda.config.influence import AbuInfluence, Fisher, MucsInfluence
from guda.config.section import Fraction, Location, Section, Seed
from guda.config.training import Esd, NegGrad


class Calibration(Section):
    count: PositiveInt = Field(128, description="Training images on which an unlearned model's damage is measured.")
    seed: Seed = Field(0, description="Seed of the choice of these images.")


class Aggregation(Section):
    """How scores of training images become the score of their group."""

    aggregate: Literal["sum", "mean", "top_k"] = Field(
        "top_k", description="A group's score: its images' scores summed, averaged, or the k largest averaged."
    )
    top_k: PositiveInt = Field(1, description="k, for aggregate top_k; 1 is the highest score alone.")


class Nearest(Aggregation):
    similarity: Literal["euclidean", "cosine"] = Field("euclidean", description="In pixel space.")


class Embedding(Aggregation):
    model: Location | None = Field(
        None,
        min_length=1,
        description="A transformers vision model: a folder, or a hub id OWNER/NAME@COMMIT; null: the base model's own "
        "middle block.",
    )
    step: PositiveInt = Field(20, description="Diffusion step at which the base model sees images, for model null.")
    top_k: PositiveInt = Field(10, description="k, for aggregate top_k; 1 is the highest score alone.")


class Abu(Aggregation, AbuInfluence):
    top_k: PositiveInt = Field(15, description=Aggregation.model_fields["top_k"].description)
    fisher: Fisher = Field(Fisher(), description="Fisher information, computed once for a base model.")


class Mucs(Aggregation, MucsInfluence):
    top_k: PositiveInt = Field(15, description=Aggregation.model_fields["top_k"].description)


class Gradients(Aggregation):
    """Settings of the methods that compare gradients."""

    aggregate: Literal["sum", "mean", "top_k"] = Field(
        "sum", description="A group's score: its images' scores summed, averaged, or the k largest averaged."
    )
    steps: PositiveInt = Field(8, description="Diffusion steps, spaced geometrically over the window of elbo.steps.")
    projection_dim: PositiveInt = Field(1024, description="Numbers that each image's gradient is projected to.")
    damping: Literal["auto"] | PositiveFloat = Field(
        "auto",
        description="lambda over the mean eigenvalue of Phi^T Phi; auto: that under which held-out gradients are most "
        "likely.",
    )
    own_noise: bool = Field(False, description="Each image has its own noise at a step, rather than all the same.")
    seed: Seed = Field(0, description="Seed of the noise, with the step, and of the projection.")

    @field_validator("damping", mode="before")
    @classmethod
    def _auto_or_a_number(cls, value: Any) -> Any:
        if value != "auto" and (not isinstance(value, int | float) or value <= 0):
            raise ValueError(f"expected auto or a positive number (found {value!r})")
        return value


class Random(Section):
    seed: Seed = Field(0, description="Seed of the scores, with the query's id and the group.")


class Finetune(Section):
    learning_rate: PositiveFloat | None = Field(None, description="Peak learning rate of AdamW; null: unlearn's.")


class Conditional(Section):
    training: dict[str, Any] = Field(
        {}, description="Keys of the section `training` with the values that this network's training has instead."
    )
    label_dropout: Fraction = Field(
        0.1, description="Share of the training samples whose group is hidden, so that it learns the whole as well."
    )


class Classifier(Section):
    training: dict[str, Any] = Field(
        {}, description="Keys of the section `training` with the values that the classifier's training has instead."
    )


class Attribution(Section):
    """Settings of the methods that have any of their own."""

    calibration: Calibration = Field(Calibration(), description="Retain calibration of unlearned models.")
    conditional: Conditional = Field(Conditional(), description="The denoiser that is told an image's group.")
    classifier: Classifier = Field(Classifier(), description="The classifier that tells a noisy image's group.")
    nearest: Nearest = Field(Nearest(), description="Pixel similarity.")
    embedding: Embedding = Field(Embedding(), description="Similarity of features.")
    abu: Abu = Field(Abu(), description="Attribution by unlearning the query (AbU).")
    mucs: Mucs = Field(Mucs(), description="Mirrored unlearning of the query (MUCS).")
    trak: Gradients = Field(Gradients(), description="TRAK: gradients of the denoising loss.")
    dtrak: Gradients = Field(Gradients(), description="D-TRAK: gradients of the squared output.")
    das: Gradients = Field(
        Gradients(), description="Diffusion Attribution Score: gradients of the output, and residuals."
    )
    random: Random = Field(Random(), description="Random scores, the floor of the table.")
    finetune: Finetune = Field(Finetune(), description="Fine-tuning on the retained images, at unlearning's price.")
    neggrad: NegGrad = Field(NegGrad(), description="Gradient ascent on the forget images, the floor of unlearning.")
    guda_esd: Esd = Field(Esd(), description="Unlearning by the guidance of the conditional network.")
