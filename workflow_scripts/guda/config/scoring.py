"""Sections `queries`, `elbo` and `metrics`: what is scored, how, and against what."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from guda.config.exemplars import Exemplars
from guda.config.section import Location, Section, Seed

MIN_RESAMPLES = 40  # 1 / 0.025: one lies beyond each end of a 95 % interval
SAMPLED_AT_ONCE = 64  # images; the last batch is filled up to it


LONGEST_SET_NAME = 60  # characters
SET_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_SET_NAME - 1}}}")
QuerySource = Literal["generated", "folder", "held_out", "exemplars"]


class Queries(Section):
    name: str = Field(
        "",
        description="Name of this query set. Several sets live side by side: rankings, tables and figures of a named "
        "set go to sets/NAME/ under `results` and leave other sets untouched; models are shared. Letters,"
        " digits and _ . - are allowed.",
    )
    source: QuerySource | None = Field(
        None,
        description="generated, folder, held_out or exemplars. null: folder or held_out if given, else generated. "
        "Needed where images are held out and others are asked about.",
    )
    folder: Location | None = Field(
        None,
        min_length=1,
        description="A folder of images, of the training images' size unless data.size is set. null: `count` images "
        "are generated.",
    )
    table: Location | None = Field(
        None,
        min_length=1,
        description="Metadata of the images in `folder`: a table with the column `file` and any others, which are "
        "copied to queries/queries.csv; images without a row are left out. null: sub-folders and metadata"
        " files, as for training images.",
    )
    count: PositiveInt = Field(256, description="Number of images to generate.")
    seed: Seed = Field(
        0,
        description="Random seed of the sampling noise. An image depends on this seed and its own number, not on "
        "`count`.",
    )
    sampler: Literal["ddim", "ddpm", "dpmsolver++"] = Field(
        "ddim",
        description="ddim: deterministic. ddpm: ancestral, with fresh noise at every step; needs hundreds of steps. "
        "dpmsolver++: deterministic, second order; good from 20 steps upwards.",
    )
    sampling_steps: PositiveInt = Field(
        50, description="Sampling steps. For ddim and ddpm a divisor of noise_schedule.num_train_timesteps."
    )
    exemplars: Exemplars = Field(
        Exemplars(),
        description="The exemplar test, for source exemplars: a copy of the base model is fine-tuned on a few images "
        "of each group. Its samples are attributable to this group, so exemplars.csv reports the rank "
        "each method gives it; no oracle is needed. See presets/exemplars.yaml. Not supported for "
        "text-to-image models.",
    )
    buckets: PositiveInt = Field(
        1,
        description="Number of files the queries are spread over. Each bucket is one job per model, for parallel "
        "execution; about one per thousand queries. A changed query is recomputed alone, however large "
        "its bucket.",
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if value and not SET_NAME.fullmatch(value):
            raise ValueError(
                f"{value!r} cannot name a folder; take letters, digits and _ . -, a letter or digit first, "
                f"{LONGEST_SET_NAME} at most"
            )
        return value

    @model_validator(mode="after")
    def _folder_fits(self) -> Queries:
        if self.folder is None and self.table is not None:
            raise ValueError("`table` tells of the images in `folder`, which is not given")
        if self.folder is None and self.source == "folder":
            raise ValueError("`source` is folder, but `folder` is not given")
        if self.folder is not None and self.source not in (None, "folder"):
            raise ValueError(f"`source` is {self.source}, but `folder` is given, too; set it to null")
        return self


class StepSchedule(Section):
    kind: Literal["all", "stride", "geometric"] = Field(
        "geometric", description="all; stride (every stride-th step); or geometric (`count` steps, denser towards 0)."
    )
    first: PositiveInt = Field(110, description="First diffusion step of the window; step 0 has no finite KL weight.")
    last: PositiveInt = Field(990, description="Last diffusion step of the window.")
    stride: PositiveInt = Field(10, description="stride: distance between neighboring steps.")
    count: PositiveInt = Field(
        24,
        description="geometric: number of steps. On two datasets 8 agreed with the oracle as well as 24 "
        "(docs/results.md), at a third of the scoring cost.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> StepSchedule:
        if self.first > self.last:
            raise ValueError(f"first is {self.first}, after last {self.last}; choose a smaller one")
        return self


class Elbo(Section):
    seed: Seed = Field(0, description="Random seed of the noise, combined with each image's id and the diffusion step.")
    steps: StepSchedule = Field(
        StepSchedule(),
        description="Diffusion steps at which the ELBO terms are evaluated, within the window first .. last. Steps "
        "near 0 carry most of the bound, and which steps separate groups differs between datasets. Try "
        "windows with `sweep.elbo_steps`, which chooses by the second oracle seed; report the chosen "
        "window on the first.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision of the networks' forward passes. bfloat16 (autocast) is faster where hardware supports "
        "it; on digits and emoji it changed no top group of a decisive image (docs/performance.md).",
    )


AUTO = "auto"


class Agreement(Section):
    """What the measures of agreement with the oracle depend on."""

    bootstrap_samples: int = Field(
        2000,
        ge=MIN_RESAMPLES,
        description="Bootstrap resamples of the queries for the 95 % intervals; at least 40, so that one lies beyond "
        "each end.",
    )
    seed: Seed = Field(0, description="Random seed of the bootstrap.")
    decisive_ratio: float = Field(
        2.0,
        ge=1,
        description="A query is decisive when every oracle seed ranks the same group first, by at least this factor "
        "over the second.",
    )


class Metrics(Agreement):
    content: str | None = Field(
        AUTO,
        description="Column that holds the content of an image. metrics_by_source.csv separates queries whose content"
        " has a single group as its source from the others; null: not made. A query's content is read "
        "from the same column of its own table, else from its nearest training images. auto: `label`, if "
        "there is such a column and groups are not its values.",
    )

    def among(self, columns: list[str], group_by: str | None) -> Metrics:
        """The same for a training table with these columns, where groups are the values of `group_by`, if of any."""
        if self.content != AUTO:
            return self
        return self.model_copy(update={"content": "label" if "label" in columns and group_by != "label" else None})
