"""Sections `lds`, `removal`, `likelihood` and `screen`: what is made of scores beside agreement with the oracle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from guda.config.section import Section, Seed


class Lds(Section):
    subsets: int = Field(
        0,
        ge=0,
        description="Number of subsets, each of which costs a training; more do not narrow the interval over queries "
        "but sharpen each query's correlation. At least 20, where there are so many ways to choose "
        "groups; for shapley and banzhaf four times the number of groups. 0: lds.csv is not made.",
    )
    sizes: Literal["fixed", "shapley", "banzhaf"] = Field(
        "fixed",
        description="How many groups a subset keeps. fixed: round(alpha G), as is usual for the score. shapley: "
        "between one and all but one, distributed as in the Shapley value. banzhaf: each group with "
        "probability 1/2.",
    )
    alpha: float = Field(
        0.5, gt=0, lt=1, description="fixed: fraction of the groups that a subset keeps; 0.5 is usual."
    )
    seed: Seed = Field(0, description="Random seed of the subsets.")
    training_seed: Seed | None = Field(
        None,
        description="Training seed of their models. null: the first of oracle.seeds. shapley and banzhaf need one "
        "that is not among these if some subset leaves out a single group.",
    )

    @field_validator("subsets")
    @classmethod
    def _can_be_ranked(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one subset cannot be ranked; use dozens, or 0 for none")
        return value


class Removal(Section):
    queries: int = Field(
        0, ge=0, description="Number of queries, chosen by a hash of their ids. 0: removal.csv is not made."
    )
    groups: list[PositiveInt] = Field(
        [1, 2],
        description="Numbers of top groups to remove, each separately. Removing one costs no training (the oracle has"
        " that model); more cost one for each distinct set, which queries and methods share.",
    )
    images: list[PositiveInt] = Field(
        [],
        description="Numbers of top training images to remove, as in [50, 200], for methods that score single images."
        " Costs one training per query, number and method, and as many for the random baseline.",
    )
    seed: Seed = Field(0, description="Random seed of the choice of queries and of the random baseline.")

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
    groups: int = Field(ge=2, description="Number of groups to propose.")


class Likelihood(Section):
    """The likelihood bound's differences against those of the likelihood itself, on a sample of the queries."""

    queries: NonNegativeInt = Field(
        0,
        description="Number of queries, chosen by a hash of `seed` and their ids; 32 or more for useful intervals. 0:"
        " likelihood.csv is not made.",
    )
    groups: list[str] | None = Field(None, description="Groups to compare on, as in [amber, birch]. null: all.")
    first: NonNegativeInt = Field(
        0,
        description="Diffusion step at whose noise level the density is evaluated. 0: the image itself, up to noise "
        "finer than its gray levels. elbo.steps.first - 1: what the ELBO of that window bounds.",
    )
    steps: PositiveInt = Field(
        20, description="Steps of the ODE solver, four forward passes each. Doubling them should change nothing."
    )
    probes: PositiveInt = Field(
        16,
        description="Rademacher probes of the divergence estimator; each costs a backward pass per forward pass. "
        "Raise it until `probe_se` is small compared with the spread of the differences.",
    )
    seed: Seed = Field(0, description="Random seed of the choice of queries, of their noise and of the probes.")

    @model_validator(mode="after")
    def _groups_can_be_ranked(self) -> Likelihood:
        if self.groups is not None and len(set(self.groups)) < max(2, len(self.groups)):
            raise ValueError(f"groups is {self.groups}; name two or more, each once")
        return self


class Page(Section):
    groups: PositiveInt = Field(3, description="Top groups of an image whose nearest training images are shown.")
    nearest: PositiveInt = Field(3, description="Training images shown for each of these groups.")
    detailed: PositiveInt = Field(500, description="Images with this detail, the first by name.")
    maps: NonNegativeInt = Field(8, description="Images with a map of the evidence for each of these groups. 0: none.")
    noises: int = Field(
        8,
        ge=5,
        le=12,
        description="Noise samples per map; the consistency of their signs separates evidence from noise.",
    )
    redrawn: NonNegativeInt = Field(
        8,
        description="Generated images that are also drawn, from the same noise, by the models without each of these "
        "groups. 0: none.",
    )


class Figure(Section):
    queries: PositiveInt = Field(8, description="Queries shown, in the order of a hash of their ids.")
    top: PositiveInt = Field(3, description="Groups shown for each query.")
