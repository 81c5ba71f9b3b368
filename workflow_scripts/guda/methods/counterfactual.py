"""Scores from counterfactual models: how much worse is a query explained had the group been absent from training?

score_k(x) = ELBO(x; full) - ELBO(x; without k) (GUDA, arXiv 2601.22651). With models retrained without the group it
is the LOGO oracle; with models that unlearned the group it is GUDA.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guda.config.variants import parts_of
from guda.core.artifacts import DIVERGED, load_tensors, not_finite, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import BASE, CALIBRATION, CONDITIONAL, Paths, logo_model
from guda.core.seeding import derive_seed
from guda.data.groups import read_members
from guda.evaluation.scores import Scores
from guda.methods.method import Needs
from guda.models.noise_schedule import step_weights
from guda.specs import CounterfactualSpec, ElboSpec, GuidedCounterfactualSpec, UnlearnSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

RESAMPLES = 1000


class _Counterfactual:
    """Scores by the models `self.model(group)`, one a group."""

    calibrated = False
    schedule = ""  # name of the diffusion steps, where they are others than the configured

    def model(self, experiment: Experiment, group: str) -> str:
        """Name of the group's counterfactual model under models/."""
        raise NotImplementedError

    def spec(self, experiment: Experiment) -> CounterfactualSpec:
        groups = list(experiment.groups)
        names = {group: self.model(experiment, group) for group in groups}
        return CounterfactualSpec(
            elbo=experiment.elbo_settings_of(self.schedule),
            base=experiment.model_digest(BASE),
            models={group: experiment.model_digest(name) for group, name in names.items()},
            model_names=names,
            neighbors={},
            buckets={bucket: experiment.scored_digest(bucket) for bucket in experiment.buckets},
            calibration=experiment.scored_digest(CALIBRATION) if self.calibrated else None,
            members={group: experiment.group_digest(group) for group in groups} if self.calibrated else {},
        )

    def parse(self, text: str) -> CounterfactualSpec:
        return CounterfactualSpec.parse(text)

    def needs(self, spec: CounterfactualSpec, paths: Paths) -> Needs:
        paths = paths.with_schedule(self.schedule)
        models = {BASE: spec.base} | {name: spec.models[group] for group, name in spec.model_names.items()}

        def elbo_records(buckets: dict[str, str]) -> dict[str, str]:
            return {
                paths.elbo_record(name, bucket): _elbo_digest(spec, model, samples)
                for name, model in models.items()
                for bucket, samples in buckets.items()
            }

        built = {paths.model_record(name): spec.models[group] for group, name in spec.model_names.items()}
        built |= {paths.neighbors_record(group): expected for group, expected in spec.neighbors.items()}
        files = [paths.model_record(BASE), *(paths.elbo(name, bucket) for name in models for bucket in spec.buckets)]
        if spec.calibration is not None:
            files += [paths.group(group) for group in spec.members]
            files += [paths.elbo(name, CALIBRATION) for name in models]
            built |= elbo_records({CALIBRATION: spec.calibration})
        return Needs(files, built, elbo_records(spec.buckets))

    def scores(self, spec: CounterfactualSpec, paths: Paths) -> Scores:
        paths = paths.with_schedule(self.schedule)
        damage = 0.0 if spec.calibration is None else _damage(spec, paths)
        queries, summaries = [], []
        for bucket, samples in spec.buckets.items():  # the terms of all of them would be too many
            ids, terms = _score_terms(spec, paths, bucket, samples)
            queries += ids
            summaries.append(summarise(terms - damage))
        score, se, p_top1 = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
        return Scores(queries, list(spec.models), score, se, p_top1)


class Oracle(_Counterfactual):
    """LOGO: a model retrained from scratch without each group."""

    def __init__(self, seed: int):
        self.seed = seed

    def model(self, experiment: Experiment, group: str) -> str:
        return logo_model(self.seed, group)


class Unlearned(_Counterfactual):
    """GUDA and its rivals: the full model after an operator unlearned each group, with or without calibration."""

    def __init__(self, operator: str, calibrated: bool):
        self.operator = operator
        self.calibrated = calibrated

    def model(self, experiment: Experiment, group: str) -> str:
        return experiment.unlearned(self.operator, group)

    def spec(self, experiment: Experiment) -> CounterfactualSpec:
        spec = super().spec(experiment)
        models = {group: experiment.model_spec(name) for group, name in spec.model_names.items()}
        neighbors = {
            experiment.neighbors_name(model.settings, group): model.neighbors
            for group, model in models.items()
            if isinstance(model, UnlearnSpec)
        }
        return spec.model_copy(update={"neighbors": neighbors})


class GuidedUnlearned(Unlearned):
    """The full model after unlearning by the guidance of the conditional network, which counts as built for it."""

    def spec(self, experiment: Experiment) -> GuidedCounterfactualSpec:
        values = dict(super().spec(experiment))
        return GuidedCounterfactualSpec(**values, conditional=experiment.model_digest(CONDITIONAL))

    def parse(self, text: str) -> GuidedCounterfactualSpec:
        return GuidedCounterfactualSpec.parse(text)

    def needs(self, spec: GuidedCounterfactualSpec, paths: Paths) -> Needs:
        needs = super().needs(spec, paths)
        built = needs.build_records | {paths.model_record(CONDITIONAL): spec.conditional}
        return replace(needs, build_records=built)


class UnlearnedVariant(Unlearned):
    """GUDA with other settings of unlearning, or at other diffusion steps, from the section `sweep`."""

    def __init__(self, name: str):
        _, operator, self.schedule = parts_of(name)
        super().__init__(operator, calibrated=True)


def summarise(terms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, its standard error, and p_top1, each [n, G], from weighted per-step terms [n, G, S] that add up to it.

    The terms follow a smooth trend over the S steps, plus the error of one noise per step. The trend is no error: what
    is resampled (RESAMPLES times, wild bootstrap, the signs shared by all groups and queries) is each term's deviation
    from its neighbours. The standard error is the root of the sum of squared deviations; both are NaN for one step.
    Raises FloatingPointError for terms that are not finite, of which the first would be first in all resamples.
    """
    if problem := not_finite(terms, "terms"):
        raise FloatingPointError(f"{problem}. {DIVERGED}")
    n, n_groups, n_steps = terms.shape
    score, errors = terms.sum(2), deviations(terms)
    generator = np.random.default_rng(derive_seed("resampled steps", n_steps))
    signs = generator.choice([-1.0, 1.0], size=(n_steps, RESAMPLES))
    p_top1 = np.full((n, n_groups), np.nan)
    if n_steps > 1:
        for row in range(n):
            resampled = score[row, :, None] + errors[row] @ signs
            first = resampled == resampled.max(0)
            p_top1[row] = (first / first.sum(0)).sum(1) / RESAMPLES  # groups that tie share the first place
    return score, np.sqrt((errors**2).sum(2)), p_top1


def deviations(terms: np.ndarray) -> np.ndarray:
    """Each term's deviation from the mean of its two neighbours (at the ends: from its one), [..., S].

    Scaled so that for independent errors of equal variance around a linear trend (at the ends: a constant) the expected
    square is that variance. NaN for a single step.
    """
    if terms.shape[-1] == 1:
        return np.full(terms.shape, np.nan)
    inner = (terms[..., 1:-1] - (terms[..., :-2] + terms[..., 2:]) / 2) * np.sqrt(2 / 3)
    ends = (terms[..., [0, -1]] - terms[..., [1, -2]]) * np.sqrt(1 / 2)
    return np.concatenate([ends[..., :1], inner, ends[..., 1:]], axis=-1)


def _score_terms(spec: CounterfactualSpec, paths: Paths, bucket: str, samples: str) -> tuple[list[str], np.ndarray]:
    """Ids of a bucket and its weighted terms w_i (KL_i without k - KL_i full), float64 [n, G, S]."""
    ids, full, metadata = _read_elbo(spec, paths, BASE, spec.base, bucket, samples)
    columns = []
    for group, model in spec.models.items():
        name = spec.model_names[group]
        group_ids, terms, group_metadata = _read_elbo(spec, paths, name, model, bucket, samples)
        if group_ids != ids:
            raise ArtifactError(
                f"{paths.elbo(name, bucket)}: its samples differ from those of the base model's file. "
                "Delete both and run snakemake again."
            )
        parent = group_metadata.get("parent_sha256")
        if parent and parent != metadata["model_sha256"]:
            raise ArtifactError(
                f"{paths.elbo(name, bucket)}: its model was unlearned from another base checkpoint than the one it is "
                f"compared with. Delete the folder {Path(paths.model_weights(name)).parent} and run snakemake again."
            )
        columns.append(terms - full)
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)
    return ids, np.stack(columns, axis=1) * weights


def _read_elbo(
    spec: CounterfactualSpec, paths: Paths, name: str, model: str, bucket: str, samples: str
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    tensors, metadata = load_tensors(paths.elbo(name, bucket), _elbo_digest(spec, model, samples), "np")
    return unpack_ids(tensors["ids"]), tensors["kl"].astype(np.float64), metadata


def _elbo_digest(spec: CounterfactualSpec, model: str, samples: str) -> str:
    return ElboSpec(model=model, samples=samples, elbo=spec.elbo).digest()


def _damage(spec: CounterfactualSpec, paths: Paths) -> np.ndarray:
    """Mean weighted terms of each unlearned model on retained training images, float64 [G, S].

    A true counterfactual explains what was retained as well as the full model does; what an unlearned model loses
    there is damage by the unlearning, differs from group to group, and is subtracted from the group's scores.
    """
    ids, terms = _score_terms(spec, paths, CALIBRATION, spec.calibration)
    damage = []
    for column, (group, expected) in enumerate(spec.members.items()):
        members = read_members(paths.group(group), expected)
        retained = np.array([sample_id not in members for sample_id in ids])
        if not retained.any():
            raise ArtifactError(
                f"{paths.group(group)}: holds every calibration image, so none is retained; "
                "raise attribution.calibration.count"
            )
        damage.append(terms[retained, column].mean(0))
    return np.stack(damage)
