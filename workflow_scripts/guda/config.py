"""The experiment's configuration: every key with its type, default and meaning.

`config.yaml` documents how to choose each value; `rules/schemas/config.schema.json` is generated from here.
Torch-free, since the workflow reads it each time it plans.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from guda.config_errors import explain
from guda.errors import ConfigError, nearest_name

Seed = Annotated[int, Field(ge=0, lt=2**63)]
MAX_QUERIES_PER_BUCKET = 5000  # their ids stand on a command line, which takes 128 KiB
Fraction = Annotated[float, Field(ge=0, lt=1)]
# Of diffusers' blocks, those that work in a network of the arguments that `UNet` has.
DownBlock = Literal["DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"]
UpBlock = Literal["UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"]


class Section(BaseModel):
    """A mapping of the configuration. Unknown keys are refused; values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError(f"expected another kind of value than true or false (found {value})")
        return value


class Subset(Section):
    count: PositiveInt = Field(description="Images that are used; all, if there are fewer.")
    seed: Seed = Field(0, description="Seed of the choice, with the image's own id.")


class Data(Section):
    dataset: Literal["digits", "idx", "cifar10", "cifar100", "image_folder"] = Field(
        "digits",
        description="Training images: scikit-learn's handwritten digits, IDX files as of MNIST, CIFAR, or a folder of "
        "image files.",
    )
    folder: str | None = Field(
        None, min_length=1, description="Folder of the images or of the dataset's files, for all datasets but digits."
    )
    table: str | None = Field(
        None, description="CSV file with a row per image for dataset image_folder: `file` in the folder, any columns."
    )
    group_by: str = Field("provider", description="Column of the training table whose values are the groups.")
    groups: list[str] | None = Field(
        None,
        description="The values to attribute to; images of other values train the model but are in no group. "
        "null: every value of the column.",
    )
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="[height, width] that training images and queries from files are brought to: scaled until they "
        "just cover it, then cropped to the centre. null: as they are.",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="Training images and queries from files become grey (1) or RGB (3). null: as they are."
    )
    subset: Subset | None = Field(
        None, description="Use so many of the images only, chosen by a hash of their ids. null: all."
    )

    @model_validator(mode="after")
    def _files_fit(self) -> Data:
        if self.dataset != "digits" and self.folder is None:
            raise ValueError(f"dataset {self.dataset} needs `folder`, the folder of its files")
        if self.dataset == "digits" and (self.folder or self.table):
            raise ValueError("`folder` and `table` belong to datasets in files, not to digits")
        if self.dataset != "image_folder" and self.table:
            raise ValueError(f"`table` belongs to dataset image_folder, not to {self.dataset}")
        return self


class Model(Section):
    pretrained: str | None = Field(
        None,
        description="A trained model to take as the base: a diffusers folder, or a hub id OWNER/NAME@COMMIT. "
        "null: the base is trained.",
    )


class UNet(Section):
    """Arguments of diffusers' `UNet2DModel` under their own names; size and channels come from the images."""

    block_out_channels: list[PositiveInt] = Field(
        [16, 32], min_length=1, description="Channels of each resolution, finest first."
    )
    layers_per_block: PositiveInt = Field(1, description="Residual layers per resolution.")
    down_block_types: list[DownBlock] = Field(["DownBlock2D", "DownBlock2D"], description="One per resolution.")
    up_block_types: list[UpBlock] = Field(["UpBlock2D", "UpBlock2D"], description="One per resolution, coarsest first.")
    add_attention: bool = Field(False, description="Self-attention in the middle block.")
    attention_head_dim: PositiveInt = Field(8, description="Channels per attention head.")
    norm_num_groups: PositiveInt = Field(8, description="Groups of the group normalisation.")
    dropout: Fraction = Field(0.0, description="Dropout inside the residual layers.")

    @model_validator(mode="after")
    def _consistent(self) -> UNet:
        n = len(self.block_out_channels)
        for key in ("down_block_types", "up_block_types"):
            if len(getattr(self, key)) != n:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} entries, block_out_channels has {n}; give one each"
                )
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(
                    f"block_out_channels: {channels} is no multiple of norm_num_groups {self.norm_num_groups}; "
                    "change one of them"
                )
        finest_first = [*zip(self.block_out_channels, self.down_block_types, strict=True)]
        coarsest_first = [*zip(reversed(self.block_out_channels), self.up_block_types, strict=True)]
        attended = [channels for channels, block in finest_first + coarsest_first if block.startswith("Attn")]
        attended += [self.block_out_channels[-1]] if self.add_attention else []
        if attended and min(attended) < self.attention_head_dim:
            raise ValueError(
                f"attention_head_dim is {self.attention_head_dim}, but self-attention stands at a resolution of "
                f"{min(attended)} channels; use {min(attended)} or less"
            )
        return self


class NoiseSchedule(Section):
    num_train_timesteps: PositiveInt = Field(1000, description="Diffusion steps T.")
    beta_schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = Field(
        "squaredcos_cap_v2", description="As in diffusers; squaredcos_cap_v2 is the cosine schedule."
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(
        "epsilon", description="What the network predicts: the noise, the velocity, or the clean image."
    )


class Optimisation(Section):
    """What the one training loop needs, for training and unlearning alike."""

    steps: PositiveInt = Field(1500, description="Optimiser steps.")
    batch_size: PositiveInt = Field(64, description="Samples per step.")
    learning_rate: PositiveFloat = Field(6.0e-3, description="Peak learning rate of AdamW.")
    adam_beta2: Fraction = Field(0.999, description="Decay of AdamW's second moment.")
    weight_decay: float = Field(1.0e-4, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(50, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    decay: Literal["cosine", "constant"] = Field("cosine", description="Learning rate after the warm-up.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Optimisation:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps} but there are only {self.steps} steps; make it smaller"
            )
        return self


class Training(Optimisation):
    seed: Seed = Field(0, description="Initial weights, order of the images, noise. Oracles use their own seeds.")
    ema_decay: Fraction = Field(0.999, description="Decay of the averaged weights, which are the checkpoint; 0: none.")


class Oracle(Section):
    seeds: list[Seed] = Field(
        [1, 2],
        min_length=1,
        description="Training seeds of the LOGO models. The first is reported against; the others serve the ceiling.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Oracle:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed; two oracles of one seed are the same model")
        return self


class Unlearning(Optimisation):
    """ReTrack: forget images are redirected to the denoising directions of their retained neighbours."""

    steps: PositiveInt = Field(80, description="Optimiser steps per group.")
    batch_size: PositiveInt = Field(32, description="Forget samples, and as many retain samples, per step.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(5, ge=0, description="Steps of linear learning-rate warm-up; fewer than `steps`.")
    seed: Seed = Field(0, description="Order of the images and noise.")
    forget_weight: float = Field(0.1, ge=0, description="Weight lambda of the forget term; the preserve term has 1.")
    n_neighbors: PositiveInt = Field(10, description="K, retained images that a forget image is redirected to.")
    preserve: Literal["denoising", "distillation"] = Field(
        "denoising", description="Preserve term on retained images: their own noise, or the full model's prediction."
    )
    max_correction_norm: PositiveFloat | None = Field(
        None, description="Clips the redirection of each image to this norm; null: no clipping (recommended)."
    )


class Unlearn(Unlearning):
    overrides: dict[str, dict[str, Any]] = Field(
        {}, description="Settings of single groups: a group's name, then any key of this section with its value."
    )

    imported: dict[str, str] = Field(
        {},
        alias="import",
        description="Models that unlearned a group elsewhere: a group's name, then a diffusers folder or a hub id "
        "OWNER/NAME@COMMIT.",
    )

    def for_group(self, group: str) -> Unlearning:
        """Settings of one group's unlearning: the section's, with the group's overrides applied."""
        settings = self.model_dump(exclude={"overrides", "imported"}) | self.overrides.get(group, {})
        return Unlearning.model_validate(settings)

    @model_validator(mode="after")
    def _overrides_are_settings(self) -> Unlearn:
        for group, settings in self.overrides.items():
            for key in settings:
                if key not in Unlearning.model_fields:
                    known = nearest_name(key, list(Unlearning.model_fields))
                    raise ValueError(f"overrides.{group}.{key}: unknown key; {known}")
            try:
                self.for_group(group)
            except ValidationError as error:
                raise ValueError(f"overrides.{group}.{explain(error.errors()[0], Unlearning)}") from None
        return self


class Queries(Section):
    folder: str | None = Field(
        None,
        min_length=1,
        description="Folder of images to attribute, instead of generated ones; `count` and the like are unused.",
    )
    count: PositiveInt = Field(256, description="Images to generate from the base model and to attribute.")
    seed: Seed = Field(0, description="Seed of the initial noise of every query, with the query's own id.")
    sampling_steps: PositiveInt = Field(50, description="DDIM steps per image.")
    buckets: PositiveInt = Field(1, description="Files the queries are spread over, by a stable hash of their id.")

    @model_validator(mode="after")
    def _buckets_fit(self) -> Queries:
        if self.folder is not None:
            return self
        if self.buckets > self.count:
            raise ValueError(f"buckets is {self.buckets} but count is {self.count}; use at most one bucket per query")
        if self.count > MAX_QUERIES_PER_BUCKET * self.buckets:
            raise ValueError(
                f"count {self.count} is too large for {self.buckets} bucket(s); use at least "
                f"{-(-self.count // MAX_QUERIES_PER_BUCKET)}, for {MAX_QUERIES_PER_BUCKET} queries each"
            )
        return self


class StepSchedule(Section):
    kind: Literal["all", "stride", "geometric"] = Field(
        "geometric", description="All steps of the window, every stride-th, or `count` spaced geometrically."
    )
    first: PositiveInt = Field(110, description="First diffusion step of the window; step 0 has no finite KL weight.")
    last: PositiveInt = Field(990, description="Last diffusion step of the window.")
    stride: PositiveInt = Field(10, description="Distance of neighbouring steps, for kind stride.")
    count: PositiveInt = Field(24, description="Number of steps, for kind geometric.")

    @model_validator(mode="after")
    def _ordered(self) -> StepSchedule:
        if self.first > self.last:
            raise ValueError(f"first is {self.first}, after last {self.last}; choose a smaller one")
        return self


class Elbo(Section):
    seed: Seed = Field(0, description="Seed of the noise, with the sample's id and the step.")
    steps: StepSchedule = Field(StepSchedule(), description="Diffusion steps at which the KL terms are computed.")


class Calibration(Section):
    count: PositiveInt = Field(128, description="Training images on which an unlearned model's damage is measured.")
    seed: Seed = Field(0, description="Seed of the choice of these images.")


class Nearest(Section):
    similarity: Literal["euclidean", "cosine"] = Field("euclidean", description="In pixel space.")
    aggregate: Literal["sum", "mean", "top_k"] = Field(
        "top_k", description="How a group's similarities become its score: summed, averaged, or the k largest averaged."
    )
    top_k: PositiveInt = Field(1, description="k, for aggregate top_k; 1 is the nearest image.")


class Random(Section):
    seed: Seed = Field(0, description="Seed of the scores, with the query's id and the group.")


class Attribution(Section):
    """Settings of the methods that have any of their own."""

    calibration: Calibration = Field(Calibration(), description="Retain calibration of unlearned models.")
    nearest: Nearest = Field(Nearest(), description="Pixel similarity.")
    random: Random = Field(Random(), description="Random scores, the floor of the table.")


class Metrics(Section):
    bootstrap_samples: PositiveInt = Field(2000, description="Resamples of the queries behind each interval.")
    seed: Seed = Field(0, description="Seed of the resampling.")
    decisive_ratio: float = Field(
        2.0, ge=1, description="A query is decisive when every oracle's first score is this many times its second."
    )
    content: str | None = Field(
        "label",
        description="Column whose values are contents. Queries whose content has a single group as its source are "
        "measured apart from those of shared contents; null: not.",
    )


class Figure(Section):
    queries: PositiveInt = Field(8, description="Query images shown in the figure, taken in the order of their hash.")
    top: PositiveInt = Field(3, description="Groups shown for each.")


class Execution(Section):
    """How jobs run. Nothing here changes a result beyond rounding, so nothing here makes a job stale."""

    batch_size: PositiveInt = Field(256, description="Samples per forward pass when scoring.")
    checkpoint_steps: PositiveInt = Field(
        500, description="Optimiser steps after which a training saves its state; a killed job goes on from there."
    )
    threads: PositiveInt = Field(1, description="CPU threads of each training, unlearning and scoring job.")


class Config(Section):
    results: str = Field("results", min_length=1, description="Folder of all outputs.")
    data: Data = Field(Data(), description="Training images and their groups.")
    model: Model = Field(Model(), description="The base model, where it is not trained here.")
    unet: UNet = Field(UNet(), description="The denoising network.")
    noise_schedule: NoiseSchedule = Field(NoiseSchedule(), description="The diffusion process.")
    training: Training = Field(Training(), description="Training of the base model and of every oracle model.")
    oracle: Oracle = Field(Oracle(), description="Leave-one-group-out retraining.")
    unlearn: Unlearn = Field(Unlearn(), description="Unlearning of each group from the base model.")
    queries: Queries = Field(Queries(), description="The images to attribute.")
    elbo: Elbo = Field(Elbo(), description="Likelihood bounds of queries under each model.")
    methods: list[str] = Field(
        ["guda", "guda_uncalibrated", "nearest", "random"], min_length=1, description="Methods in the tables."
    )
    attribution: Attribution = Field(Attribution(), description="Settings of single methods.")
    metrics: Metrics = Field(Metrics(), description="Agreement with the oracle.")
    figure: Figure = Field(Figure(), description="The figure of queries and their top groups.")
    execution: Execution = Field(Execution(), description="Resources and batching.")

    @field_validator("results")
    @classmethod
    def _results_is_a_path(cls, value: str) -> str:
        if not value.isprintable() or set("{}") & set(value):
            raise ValueError(f"{value!r} holds a brace or an invisible character; choose another name")
        return value

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        if self.elbo.steps.last >= self.noise_schedule.num_train_timesteps:
            raise ValueError(
                f"elbo.steps.last is {self.elbo.steps.last}, but the noise schedule's last step is "
                f"{self.noise_schedule.num_train_timesteps - 1}; choose a smaller one"
            )
        if self.queries.sampling_steps > self.noise_schedule.num_train_timesteps:
            raise ValueError("queries.sampling_steps exceeds noise_schedule.num_train_timesteps; choose fewer")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods: {self.methods} names a method twice; keep one")
        return self


def load_config(values: dict[str, Any]) -> Config:
    """Validate a configuration (as read from YAML) and fill in the defaults.

    Raises ConfigError with one line per problem: the key, what was found, and the nearest known name.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {explain(problem, Config)}" for problem in error.errors())
        raise ConfigError(f"the configuration has {error.error_count()} problem(s):\n{lines}") from None
