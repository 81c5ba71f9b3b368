"""How large are effects in nats? Unlearning orders groups, and a few retrained ones say how large its scores should be.

A model is retrained without one group, or one model without each of a few, from a training seed of their own. Their
scores beside GUDA's of the same groups give a scale for the scores of all groups, and a level for each query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from guda.config.section import Section, Seed
from guda.core.errors import ConfigError, nearest_name
from guda.core.paths import Paths, logo_model
from guda.core.seeding import chosen
from guda.core.spec import Spec
from guda.methods.counterfactual.plan import AnySpec, Counterfactual, CounterfactualSpec, Unlearned
from guda.methods.method import Method, Needs
from guda.unlearning import GUDA

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Scaled(Section):
    groups: list[str] | None = Field(
        None,
        min_length=1,
        description="Groups to retrain without, as in [amber]. Choose one that some queries depend on strongly and "
        "others weakly, such as the only source of some content: large effects scale differently from "
        "small ones. null: one, chosen by a hash of `seed`.",
    )
    seed: Seed = Field(
        100,
        description="Training seed of these models; must differ from oracle.seeds, whose models the scores are "
        "measured against.",
    )


class ScaledSpec(Spec):
    stage, version = "scaled", 3
    unlearned: AnySpec  # of GUDA's scores
    retrained: CounterfactualSpec  # of those of the retrained groups


class Retrained(Counterfactual):
    """Scores by models retrained without each of some groups."""

    def __init__(self, name: str, seed: int, groups: list[str]):
        super().__init__(name)
        self.seed, self.chosen = seed, groups

    def spec(self, experiment: Experiment) -> CounterfactualSpec:
        return self.compared(experiment, {group: logo_model(self.seed, group) for group in self.chosen})


class ScaledUnlearned(Method[ScaledSpec]):
    """GUDA's scores with the distribution that a few groups' scores have by retraining."""

    kind = ScaledSpec

    def __init__(self, name: str):
        super().__init__(name)
        self.unlearned = Unlearned(name, GUDA)

    def check(self, experiment: Experiment) -> None:
        """The oracle's models are what scores are measured against, and cannot make them."""
        self.unlearned.check(experiment)
        settings, known = experiment.config.attribution.guda_scaled, list(experiment.groups)
        for group in settings.groups or []:
            if group not in known:
                raise ConfigError(f"attribution.guda_scaled.groups: no group {group!r}; {nearest_name(group, known)}")
        if set(settings.groups or []) == set(known):
            raise ConfigError(
                "attribution.guda_scaled.groups names all groups: then nothing is left to estimate; name fewer"
            )
        if settings.seed in experiment.config.oracle.seeds:
            raise ConfigError(
                f"attribution.guda_scaled.seed is {settings.seed}, which is one of oracle.seeds: scores would be made "
                "of the models that they are measured against; choose another"
            )
        if len(experiment.queries) < 2:
            raise ConfigError(f"methods: {self.name} takes its scale from the spread over queries; ask for two or more")

    def spec(self, experiment: Experiment) -> ScaledSpec:
        settings = experiment.config.attribution.guda_scaled
        known = list(experiment.groups)
        names = settings.groups or [known[row] for row in chosen(known, 1, "retrained", settings.seed)]
        retrained = Retrained(self.name, settings.seed, sorted(set(names)))
        return ScaledSpec(unlearned=self.unlearned.spec(experiment), retrained=retrained.spec(experiment))

    def needs(self, spec: ScaledSpec, paths: Paths) -> Needs:
        one, other = (self.unlearned.needs(each, paths) for each in (spec.unlearned, spec.retrained))
        return Needs(
            [*one.files, *other.files],
            one.build_records | other.build_records,
            one.query_records | other.query_records,
        )

    def judged(self, spec: ScaledSpec) -> dict[str, str]:
        return self.unlearned.judged(spec.unlearned) | self.unlearned.judged(spec.retrained)
