"""Sections `queries`, `elbo` and `metrics`: what is scored, how, and against what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from guda.config.section import Location, Section, Seed

MIN_RESAMPLES = 40  # 1 / 0.025: one lies beyond each end of a 95 % interval


class Queries(Section):
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

    @model_validator(mode="after")
    def _table_has_a_folder(self) -> Queries:
        if self.folder is None and self.table is not None:
            raise ValueError("`table` tells of the images in `folder`, which is not given")
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
