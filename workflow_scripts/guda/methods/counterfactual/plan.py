"""Scores from counterfactual models: how much worse would a query be explained without the group in training?

score_k(x) = ELBO(x; full) - ELBO(x; without k) (GUDA, arXiv 2601.22651). With models retrained without the group it
is the LOGO oracle; with models that unlearned the group it is GUDA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from guda.config.section import Section, Seed
from guda.core.errors import ConfigError
from guda.core.paths import BASE, CALIBRATION, CONDITIONAL, Paths, logo_model, own_base
from guda.core.seeding import chosen
from guda.core.spec import Spec, parse_any
from guda.methods.method import Method, Needs
from guda.methods.variants import parts_of
from guda.specs import ElboSettings, ElboSpec
from guda.unlearning.retrack.plan import UnlearnSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class Calibration(Section):
    count: PositiveInt = Field(128, description="Training images scored for the calibration.")
    seed: Seed = Field(0, description="Random seed of the choice of these images.")


class CounterfactualSpec(Spec):
    stage, version = "counterfactual", 4
    elbo: ElboSettings
    base: str
    models: dict[str, str]  # digest of each group's counterfactual model
    model_names: dict[str, str]  # its name under models/
    neighbors: dict[str, str]  # digest of the neighbors used by unlearning, by name under neighbors/
    buckets: dict[str, str]
    calibration: str | None
    members: dict[str, str]  # digest of each group, if calibration needs its members

    @property
    def runs(self) -> list[CounterfactualSpec]:
        """The runs that scores are averaged over."""
        return [self]

    @property
    def base_name(self) -> str:
        """Name under models/ of the model that counterfactual models are compared with; `base` is its digest."""
        return BASE

    def elbo_digest(self, model: str, samples: str) -> str:
        """Digest of the spec of ELBO terms, from the digests of the model and of the images."""
        return ElboSpec(model=model, samples=samples, elbo=self.elbo).digest()


class GuidedCounterfactualSpec(CounterfactualSpec):
    stage, version = "guided_counterfactual", 4
    conditional: str  # digest of the network whose guidance was used for unlearning


class OwnBaseCounterfactualSpec(CounterfactualSpec):
    stage, version = "own_base_counterfactual", 3
    own_base: str  # name of the oracle seed's own base model

    @property
    def base_name(self) -> str:
        return self.own_base


class RepeatedSpec(Spec):
    stage, version = "repeated_counterfactual", 2
    runs: list[GuidedCounterfactualSpec | CounterfactualSpec]  # one per unlearning seed, differing only in the models


AnySpec = CounterfactualSpec | RepeatedSpec


class Counterfactual(Method[AnySpec]):
    """Scores by counterfactual models, one per group."""

    kind: type[AnySpec] = CounterfactualSpec
    calibrated = False
    schedule = ""  # name of the diffusion steps, if not the configured ones

    def check(self, experiment: Experiment) -> None:
        """Check that some calibration images are outside each group: damage is measured on them."""
        if not self.calibrated:
            return
        ids, settings = list(experiment.dataset.table["id"]), experiment.config.attribution.calibration
        sample = {ids[row] for row in chosen(ids, settings.count, CALIBRATION, settings.seed)}
        for group, members in experiment.groups.items():
            if sample.issubset(members):
                raise ConfigError(
                    f"attribution.calibration.count is {settings.count}, and group {group!r} holds all of the "
                    "calibration images, so none is retained without it; raise it"
                )

    def compared(self, experiment: Experiment, names: dict[str, str]) -> CounterfactualSpec:
        """Spec of scores by the named models under models/, by group."""
        return CounterfactualSpec(
            elbo=experiment.elbo_settings_of(self.schedule),
            base=experiment.model_digest(BASE),
            models={group: experiment.model_digest(name) for group, name in names.items()},
            model_names=names,
            neighbors={},
            buckets={bucket: experiment.scored_digest(bucket) for bucket in experiment.buckets},
            calibration=experiment.scored_digest(CALIBRATION) if self.calibrated else None,
            members={group: experiment.group_digest(group) for group in names} if self.calibrated else {},
        )

    def needs(self, spec: AnySpec, paths: Paths) -> Needs:
        found = Needs([])
        for needs in (self.run_needs(run, paths) for run in spec.runs):
            found = Needs(
                found.files + needs.files,
                found.build_records | needs.build_records,
                found.query_records | needs.query_records,
                found.sizes | needs.sizes,
            )
        return found

    def run_needs(self, spec: CounterfactualSpec, paths: Paths) -> Needs:
        """Needs of the models of one run."""
        paths, models = paths.with_schedule(self.schedule), self.judged(spec)

        def elbo_records(buckets: dict[str, str]) -> dict[str, str]:
            return {
                paths.elbo_record(name, bucket): spec.elbo_digest(model, samples)
                for name, model in models.items()
                for bucket, samples in buckets.items()
            }

        built = {paths.model_record(name): spec.models[group] for group, name in spec.model_names.items()}
        built |= {paths.neighbors_record(group): expected for group, expected in spec.neighbors.items()}
        files = [
            paths.model_record(spec.base_name),
            *(paths.elbo(name, bucket) for name in models for bucket in spec.buckets),
        ]
        if spec.calibration is not None:
            files += [paths.group(group) for group in spec.members]
            files += [paths.elbo(name, CALIBRATION) for name in models]
            built |= elbo_records({CALIBRATION: spec.calibration})
        return Needs(files, built, elbo_records(spec.buckets))

    def judged(self, spec: AnySpec) -> dict[str, str]:
        models: dict[str, str] = {}
        for run in spec.runs:
            models |= {run.base_name: run.base} | {name: run.models[group] for group, name in run.model_names.items()}
        return models


class Retrained(Counterfactual):
    """Scores by models retrained without each group.

    They are compared with the base model, or with a base model of their own, whose cost then counts.
    """

    def compared_with(self, experiment: Experiment, base: str, names: dict[str, str]) -> OwnBaseCounterfactualSpec:
        """Spec of scores by the named models, by group, and this base model."""
        spec = dict(self.compared(experiment, names)) | {"base": experiment.model_digest(base), "own_base": base}
        return OwnBaseCounterfactualSpec(**spec)

    def parse(self, text: str) -> CounterfactualSpec:
        return parse_any([CounterfactualSpec, OwnBaseCounterfactualSpec], text)

    def run_needs(self, spec: CounterfactualSpec, paths: Paths) -> Needs:
        needs = super().run_needs(spec, paths)
        if not isinstance(spec, OwnBaseCounterfactualSpec):
            return needs
        return replace(needs, build_records=needs.build_records | {paths.model_record(spec.base_name): spec.base})


class Oracle(Retrained):
    """LOGO: the base model's training is repeated from scratch without each group."""

    def __init__(self, seed: int):
        super().__init__(f"logo-{seed}")
        self.seed = seed

    def spec(self, experiment: Experiment) -> CounterfactualSpec:
        names = {group: logo_model(self.seed, group) for group in experiment.groups}
        if not experiment.config.oracle.own_base:
            return self.compared(experiment, names)
        return self.compared_with(experiment, own_base(self.seed), names)


class Unlearned(Counterfactual):
    """GUDA and alternative operators: the base model with each group unlearned.

    The operator has the method's name unless another one is given.
    """

    def __init__(self, name: str, operator: str = "", calibrated: bool = True):
        super().__init__(name)
        self.operator = operator or name
        self.calibrated = calibrated

    def applies(self, experiment: Experiment) -> bool:
        return self.operator in experiment.operators

    def check(self, experiment: Experiment) -> None:
        super().check(experiment)
        experiment.operators[self.operator].check(experiment)

    def spec(self, experiment: Experiment) -> AnySpec:
        runs = [self.run_spec(experiment, run) for run in experiment.config.unlearn.runs]
        return RepeatedSpec(runs=runs) if len(runs) > 1 else runs[0]

    def parse(self, text: str) -> AnySpec:
        return parse_any([CounterfactualSpec, RepeatedSpec], text)

    def run_spec(self, experiment: Experiment, run: str) -> CounterfactualSpec:
        """Spec of the scores by the models of one run of `unlearn.runs`."""
        names = {group: experiment.unlearned(self.operator, group, run) for group in experiment.groups}
        spec = self.compared(experiment, names)
        models = {group: experiment.model_spec(name) for group, name in spec.model_names.items()}
        neighbors = {
            experiment.neighbors_name(model.settings, group): model.neighbors
            for group, model in models.items()
            if isinstance(model, UnlearnSpec)
        }
        return spec.model_copy(update={"neighbors": neighbors})


class GuidedUnlearned(Unlearned):
    """The base model after unlearning by guidance: its own, or a conditional network's, whose cost then counts."""

    def run_spec(self, experiment: Experiment, run: str) -> CounterfactualSpec:
        spec = super().run_spec(experiment, run)
        if experiment.family.conditional == BASE:
            return spec
        return GuidedCounterfactualSpec(**dict(spec), conditional=experiment.model_digest(CONDITIONAL))

    def parse(self, text: str) -> AnySpec:
        return parse_any([GuidedCounterfactualSpec, CounterfactualSpec, RepeatedSpec], text)

    def run_needs(self, spec: CounterfactualSpec, paths: Paths) -> Needs:
        needs = super().run_needs(spec, paths)
        if not isinstance(spec, GuidedCounterfactualSpec):
            return needs
        built = needs.build_records | {paths.model_record(CONDITIONAL): spec.conditional}
        return replace(needs, build_records=built)


class UnlearnedVariant(Unlearned):
    """GUDA with other settings of unlearning, or at other diffusion steps, from the section `sweep`."""

    def __init__(self, name: str):
        _, operator, self.schedule = parts_of(name)
        super().__init__(name, operator)
