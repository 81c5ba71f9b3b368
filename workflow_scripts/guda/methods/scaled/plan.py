"""Unlearning scores on the scale of retraining, estimated from a few retrained groups.

One model is retrained without each of one or a few groups, from a separate training seed. Their scores, compared with
GUDA's for the same groups, give a scale for the scores of all groups and a level for each query.
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
    unlearned: AnySpec  # spec of GUDA's scores
    retrained: CounterfactualSpec  # spec of the retrained groups' scores


class Retrained(Counterfactual):
    """Scores by models retrained without each of some groups."""

    def __init__(self, name: str, seed: int, groups: list[str]):
        super().__init__(name)
        self.seed, self.chosen = seed, groups

    def spec(self, experiment: Experiment) -> CounterfactualSpec:
        return self.compared(experiment, {group: logo_model(self.seed, group) for group in self.chosen})


class ScaledUnlearned(Method[ScaledSpec]):
    """GUDA's scores with the distribution of a few groups' retrained scores."""

    kind = ScaledSpec

    def __init__(self, name: str):
        super().__init__(name)
        self.unlearned = Unlearned(name, GUDA)

    def check(self, experiment: Experiment) -> None:
        """Check that the oracle's models, which scores are evaluated against, are not used to compute them."""
        self.unlearned.check(experiment)
        settings, known = experiment.config.attribution.guda_scaled, list(experiment.groups)
        for group in settings.groups or []:
            if group not in known:
                raise ConfigError(f"attribution.guda_scaled.groups: no group {group!r}; {nearest_name(group, known)}")
        if set(settings.groups or []) == set(known):
            raise ConfigError(
                "attribution.guda_scaled.groups names all groups, which leaves nothing to estimate; name fewer"
            )
        if settings.seed in experiment.config.oracle.seeds:
            raise ConfigError(
                f"attribution.guda_scaled.seed is {settings.seed}, which is one of oracle.seeds: scores would be "
                "computed from the models that they are evaluated against; choose another"
            )
        if len(experiment.queries) < 2:
            raise ConfigError(
                f"methods: {self.name} estimates its scale from the spread over queries; use at least two queries"
            )

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
