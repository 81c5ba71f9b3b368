"""Shapley and Banzhaf values of groups, from models trained on subsets of the groups.

The models are those used by `lds`. Unlike a leave-one-out score, such a value also counts what a group adds to small
subsets: leaving out one of several interchangeable groups has no effect, but each of them has a share. Nothing is
unlearned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.core.errors import ConfigError
from guda.core.paths import BASE, Paths
from guda.core.spec import Spec
from guda.evaluation.group_values import tells_apart
from guda.evaluation.subsets import kept_matrix
from guda.methods.method import Method, Needs
from guda.specs import ElboSettings, ElboSpec, TrainedSubset

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

LEAST = 4  # subsets: lds.csv ranks the subsets within each half


class GroupValuesSpec(Spec):
    stage, version = "group_values", 1
    value: str
    elbo: ElboSettings
    base: str
    groups: list[str]
    subsets: list[TrainedSubset]
    buckets: dict[str, str]

    @property
    def models(self) -> dict[str, str]:
        """Digest of each subset's model, by its name."""
        return {subset.model: subset.digest for subset in self.subsets}


class GroupValues(Method[GroupValuesSpec]):
    """Scores by regressing a query's ELBO on the groups that models were trained on; named after the value."""

    kind = GroupValuesSpec

    def check(self, experiment: Experiment) -> None:
        """Check that the subsets identify the groups' values, and that no subset's model is one of the oracle's."""
        lds, oracle, groups = experiment.config.lds, experiment.config.oracle, list(experiment.groups)
        enough = 4 * len(groups)
        if not lds.subsets:
            raise ConfigError(
                f"methods: {self.name} is computed from models of subsets of the groups, but lds.subsets is 0; for "
                f"{len(groups)} groups set it to {enough} or more"
            )
        if lds.subsets < LEAST:
            raise ConfigError(
                f"methods: {self.name} is evaluated on halves of the subsets, but lds.subsets is {lds.subsets}; "
                "raise it"
            )
        if not tells_apart(kept_matrix(groups, experiment.kept_groups)):
            raise ConfigError(
                f"methods: {self.name} cannot distinguish {len(groups)} groups with the {lds.subsets} of lds.subsets; "
                f"raise it, to {enough} or more, or set lds.sizes to {self.name}, which has more subsets to draw from"
            )
        single = [left_out[0] for left_out in experiment.left_out_groups if len(left_out) == 1]
        if single and experiment.subset_seed in oracle.seeds:
            raise ConfigError(
                f"lds.training_seed: the subset without {single[0]!r} would be trained from {experiment.subset_seed}, "
                f"one of oracle.seeds, so {self.name} would use the model it is evaluated against; choose another"
            )

    def spec(self, experiment: Experiment) -> GroupValuesSpec:
        return GroupValuesSpec(
            value=self.name,
            elbo=experiment.elbo_settings,
            base=experiment.model_digest(BASE),
            groups=list(experiment.groups),
            subsets=experiment.subsets,
            buckets=experiment.scored_digests(),
        )

    def needs(self, spec: GroupValuesSpec, paths: Paths) -> Needs:
        models = self.judged(spec)
        return Needs(
            [paths.model_record(BASE), *(paths.elbo(name, bucket) for name in models for bucket in spec.buckets)],
            {paths.model_record(name): model for name, model in spec.models.items()},
            {
                paths.elbo_record(name, bucket): ElboSpec(model=model, samples=samples, elbo=spec.elbo).digest()
                for name, model in models.items()
                for bucket, samples in spec.buckets.items()
            },
        )

    def judged(self, spec: GroupValuesSpec) -> dict[str, str]:
        return {BASE: spec.base} | spec.models
