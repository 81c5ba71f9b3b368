"""Sections `lds`, `removal`, `likelihood` and `screen`: what is made of scores beside agreement with the oracle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from guda.config.section import Section, Seed


class Lds(Section):
    subsets: int = Field(
        0, ge=0, description="Random subsets of the groups, with a model trained on each; 0: lds.csv is not made."
    )
    sizes: Literal["fixed", "shapley", "banzhaf"] = Field(
        "fixed",
        description="How many groups a subset keeps: always as many, or drawn as that value weighs them.",
    )
    alpha: float = Field(0.5, gt=0, lt=1, description="Share of the groups that a subset keeps, where sizes are fixed.")
    seed: Seed = Field(0, description="Seed of the subsets, with their number.")
    training_seed: Seed | None = Field(
        None, description="Training seed of their models; null: the first of oracle.seeds."
    )

    @field_validator("subsets")
    @classmethod
    def _can_be_ranked(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one subset cannot be ranked; use dozens, or 0 for none")
        return value


class Removal(Section):
    queries: int = Field(
        0, ge=0, description="Queries whose most influential data are removed; 0: removal.csv is not made."
    )
    groups: list[PositiveInt] = Field([1, 2], description="Numbers of top groups that are removed.")
    images: list[PositiveInt] = Field(
        [], description="Numbers of top training images that are removed, for methods that score single images."
    )
    seed: Seed = Field(0, description="Seed of the choice of queries and of the random removal, with their ids.")

    @model_validator(mode="after")
    def _says_what_to_remove(self) -> Removal:
        for name, values in (("groups", self.groups), ("images", self.images)):
            if len(set(values)) != len(values):
                raise ValueError(f"`{name}` {values} repeats a number; keep one")
        if self.queries and not (self.groups or self.images):
            raise ValueError("`groups` and `images` are both empty, so nothing would be removed; fill one")
        return self


class Screen(Section):
    """Which of many groups are worth unlearning? Those that a cheap method puts first for some query."""

    method: str = Field(description="The method that proposes groups; one of `methods`.")
    groups: int = Field(ge=2, description="How many it proposes.")


class Likelihood(Section):
    """The likelihood bound's differences against those of the likelihood itself, on a sample of the queries."""

    queries: NonNegativeInt = Field(0, description="Queries to compare on, chosen by a hash of `seed` and their ids.")
    groups: list[str] | None = Field(None, description="Groups to compare on; null: all.")
    first: NonNegativeInt = Field(0, description="Diffusion step at whose noise level the density is taken.")
    steps: PositiveInt = Field(20, description="Steps of the solver, each of four forward passes.")
    probes: PositiveInt = Field(16, description="Random sign vectors that the divergence is estimated with.")
    seed: Seed = Field(0, description="Seed of the choice of queries, of their noise and of the sign vectors.")

    @model_validator(mode="after")
    def _groups_can_be_ranked(self) -> Likelihood:
        if self.groups is not None and len(set(self.groups)) < max(2, len(self.groups)):
            raise ValueError(f"groups is {self.groups}; name two or more, each once")
        return self


class Page(Section):
    groups: PositiveInt = Field(3, description="Groups of an image, the first ones, whose nearest images are shown.")
    nearest: PositiveInt = Field(3, description="Training images shown of each.")
    detailed: PositiveInt = Field(500, description="Images that these are shown for, the first by name.")
    maps: NonNegativeInt = Field(8, description="Images with maps of where the evidence for these groups lies.")
    noises: int = Field(8, ge=5, le=12, description="Draws of noise behind each map; their signs tell it from chance.")
    redrawn: NonNegativeInt = Field(
        8, description="Generated images that the models without their first groups draw again, from the same noise."
    )


class Figure(Section):
    queries: PositiveInt = Field(8, description="Query images shown in the figure, taken in the order of their hash.")
    top: PositiveInt = Field(3, description="Groups shown for each.")
