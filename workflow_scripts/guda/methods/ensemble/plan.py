"""Ensemble of several methods: their standardized scores, averaged with fixed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from guda.config.section import Section
from guda.core.errors import ConfigError, nearest_name
from guda.core.paths import Paths
from guda.core.spec import Spec, digest
from guda.methods.method import Method, Needs

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

KEY = "attribution.ensemble.members"
DEFAULT = {"guda": 1.0, "kernel": 0.5}


class Ensemble(Section):
    members: dict[str, PositiveFloat] | None = Field(
        None,
        min_length=1,
        description="Methods with positive weights, the one that sets the scale first, as in {guda: 1, embedding: "
        "0.5}. They need not be in `methods`. null: {guda: 1.0, kernel: 0.5}.",
    )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member, in order."""
        return dict(self.members or DEFAULT)


class Member(BaseModel):
    """A method and the canonical text of its scores' spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    weight: float
    spec: str


class EnsembleSpec(Spec):
    stage, version = "ensemble", 1
    members: list[Member]


class EnsembleOf(Method[EnsembleSpec]):
    """A weighted mean of the scores of some `known` methods, which need not be among the configured methods."""

    kind = EnsembleSpec

    def __init__(self, name: str, known: Mapping[str, Method]):
        super().__init__(name)
        self.known = known

    def members(self, experiment: Experiment) -> list[str]:
        """Names of its members. Raises ConfigError for a member that is unknown or not supported for these models."""
        names = list(experiment.config.attribution.ensemble.weights)
        able = [name for name, method in self.known.items() if method.applies(experiment)]
        for name in names:
            if name not in self.known:
                raise ConfigError(f"{KEY}: {name!r} cannot be a member; {nearest_name(name, able)}")
            if name not in able:
                raise ConfigError(
                    f"{KEY}: {name} is not supported for {experiment.family.title}; known: {', '.join(able)}"
                )
        return names

    def check(self, experiment: Experiment) -> None:
        for name in self.members(experiment):
            self.known[name].check(experiment)

    def notes(self, experiment: Experiment) -> list[str]:
        return [note for name in self.members(experiment) for note in self.known[name].notes(experiment)]

    def spec(self, experiment: Experiment) -> EnsembleSpec:
        weights = experiment.config.attribution.ensemble.weights
        return EnsembleSpec(
            members=[
                Member(method=name, weight=weights[name], spec=experiment.method_spec(name).canonical())
                for name in self.members(experiment)
            ]
        )

    def needs(self, spec: EnsembleSpec, paths: Paths) -> Needs:
        """The members' score files and needs; records shared by several members are listed once."""
        own = {paths.scores_record(member.method): digest(member.spec) for member in spec.members}
        needs = [method.needs(of, paths) for method, of in self.parsed(spec)]
        built = {path: found for each in needs for path, found in each.build_records.items()}
        per_query = own | {path: found for each in needs for path, found in each.query_records.items()}
        return Needs(
            [paths.scores(member.method) for member in spec.members],
            built,
            {path: found for path, found in per_query.items() if path not in built},
            {path: size for each in needs for path, size in each.sizes.items()},
        )

    def judged(self, spec: EnsembleSpec) -> dict[str, str]:
        return {name: found for method, of in self.parsed(spec) for name, found in method.judged(of).items()}

    def parsed(self, spec: EnsembleSpec) -> Iterator[tuple[Method, Spec]]:
        """The members with their specs."""
        for member in spec.members:
            yield self.known[member.method], self.known[member.method].parse(member.spec)
