"""Sections `queries`, `elbo` and `metrics`: what is scored, how, and against what."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from guda.config.section import Location, Section, Seed

MIN_RESAMPLES = 40  # 1 / 0.025: one lies beyond each end of a 95 % interval
SAMPLED_AT_ONCE = 64  # images; the last batch is filled up to it


LONGEST_SET_NAME = 60  # characters
SET_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_SET_NAME - 1}}}")
QuerySource = Literal["generated", "folder", "held_out"]


class Queries(Section):
    name: str = Field(
        "",
        description="Name of this set of queries, whose answers lie in sets/NAME/ under the results, beside those of "
        "others. '': in the results folder itself.",
    )
    source: QuerySource | None = Field(
        None,
        description="Whether queries are generated, those in `folder`, or the images of data.held_out; null: as these "
        "keys say.",
    )
    folder: Location | None = Field(
        None,
        min_length=1,
        description="Folder of images to attribute, instead of generated ones; `count` and the like are unused.",
    )
    table: Location | None = Field(
        None,
        min_length=1,
        description="Table (CSV, JSON or Parquet) with a row per image of `folder`: `file`, and what is known of it.",
    )
    count: PositiveInt = Field(256, description="Images to generate from the base model and to attribute.")
    seed: Seed = Field(0, description="Seed of the noise of every query, with the query's own id.")
    sampler: Literal["ddim", "ddpm", "dpmsolver++"] = Field(
        "ddim", description="How images are generated: deterministic, ancestral, or by a solver of second order."
    )
    sampling_steps: PositiveInt = Field(50, description="Steps of the sampler per image.")
    buckets: PositiveInt = Field(1, description="Files the queries are spread over, by a stable hash of their id.")

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


AUTO = "auto"


class Agreement(Section):
    """What the measures of agreement with the oracle depend on."""

    bootstrap_samples: int = Field(
        2000,
        ge=MIN_RESAMPLES,
        description="Resamples of the queries behind each interval; of fewer than 40 none lies beyond its ends.",
    )
    seed: Seed = Field(0, description="Seed of the resampling.")
    decisive_ratio: float = Field(
        2.0, ge=1, description="A query is decisive when every oracle's first score is this many times its second."
    )


class Metrics(Agreement):
    content: str | None = Field(
        AUTO,
        description="Column whose values are contents. Queries whose content has a single group as its source are "
        "measured apart from those of shared contents; null: not; auto: `label`, where there is such a column and "
        "groups are not its values.",
    )

    def among(self, columns: list[str], group_by: str | None) -> Metrics:
        """The same for a training table with these columns, where groups are the values of `group_by`, if of any."""
        if self.content != AUTO:
            return self
        return self.model_copy(update={"content": "label" if "label" in columns and group_by != "label" else None})
