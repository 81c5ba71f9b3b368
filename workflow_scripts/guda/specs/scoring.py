"""Specs of what is computed for images under models, bucket by bucket."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from guda import config
from guda.core.spec import Spec


class ElboSettings(BaseModel):
    """The diffusion steps and noise of KL terms: part of every spec that depends on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: config.NoiseSchedule
    seed: int
    steps: list[int]
    first: int
    last: int
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_serializer(mode="wrap")
    def _without_full_precision(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """float32 is left out: terms from before there was a choice have the same specs."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if (name, value) != ("precision", "float32")}


class ElboSpec(Spec):
    stage, version = "elbo", 1
    model: str
    samples: str  # digest of the bucket of queries, or of the calibration sample
    elbo: ElboSettings


class ConditionalElboSpec(Spec):
    stage, version = "conditional_elbo", 1
    model: str
    label: int
    samples: str
    elbo: ElboSettings


class PosteriorsSpec(Spec):
    stage, version = "posteriors", 1
    model: str
    samples: str
    elbo: ElboSettings


class LikelihoodSettings(BaseModel):
    """The queries whose likelihoods are computed by the probability-flow ODE, and the solver settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    noise_schedule: config.NoiseSchedule
    queries: int
    first: int
    steps: int
    probes: int
    seed: int


class LikelihoodSpec(Spec):
    stage, version = "likelihood", 1
    model: str
    buckets: dict[str, str]  # digest of each bucket of queries to choose from
    settings: LikelihoodSettings
