"""Scores from the likelihood terms of counterfactual models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import CALIBRATION, Paths
from guda.data.groups import read_members
from guda.evaluation.scores import Scores
from guda.methods.counterfactual.plan import Counterfactual, CounterfactualSpec
from guda.methods.resampling import summarise
from guda.models.forgetting import forgetting, summary
from guda.models.noise_schedule import step_weights


def scores(method: Counterfactual, spec: CounterfactualSpec, paths: Paths) -> Scores:
    """ELBO(x; full) - ELBO(x; without k), less the damage where the method is calibrated.

    The details of a calibrated one say how far each group was forgotten.
    """
    paths = paths.with_schedule(method.schedule)
    harm: np.ndarray | float = 0.0
    details: dict[str, Any] = {}
    if spec.calibration is not None:
        terms, held = _read_calibration(spec, paths, spec.calibration)
        harm, found = damage(terms, held), dict(zip(spec.models, forgetting(terms.sum(2), held), strict=True))
        details = {"forgetting": found} | summary(found)
    queries, summaries = [], []
    for bucket, samples in spec.buckets.items():  # the terms of all of them would be too many
        ids, terms = _score_terms(spec, paths, bucket, samples)
        queries += ids
        summaries.append(summarise(terms - harm))
    score, se, p_top1 = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
    return Scores(queries, list(spec.models), score, se, p_top1, details=details)


def weighted_differences(full: np.ndarray, without: Iterable[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """w_i (KL_i without k - KL_i full) of every image, group and step, float64 [n, G, S]: a score is their sum.

    `full` float64 [n, S] are the terms of the base model, `without` those of each group's counterfactual model, and
    `weights` [S] say how many steps each stands for.
    """
    return np.stack([terms - full for terms in without], axis=1) * weights


def damage(terms: np.ndarray, held: Sequence[np.ndarray]) -> np.ndarray:
    """Mean weighted terms [M, G, S] of each group's unlearned model on retained training images, float64 [G, S].

    `held` says of each group which of the M images are its members, bool [M], not all. A true counterfactual explains
    what was retained as well as the full model does; what an unlearned model loses there is damage by the unlearning,
    differs from group to group, and is subtracted from the group's scores.
    """
    return np.stack([terms[~members, column].mean(0) for column, members in enumerate(held)])


def _score_terms(spec: CounterfactualSpec, paths: Paths, bucket: str, samples: str) -> tuple[list[str], np.ndarray]:
    """Ids of a bucket and its weighted terms w_i (KL_i without k - KL_i full), float64 [n, G, S]."""
    ids, full, metadata = _read_elbo(spec, paths, spec.base_name, spec.base, bucket, samples)
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)

    def without(group: str) -> np.ndarray:
        name = spec.model_names[group]
        group_ids, terms, group_metadata = _read_elbo(spec, paths, name, spec.models[group], bucket, samples)
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
        return terms

    return ids, weighted_differences(full, map(without, spec.models), weights)


def _read_elbo(
    spec: CounterfactualSpec, paths: Paths, name: str, model: str, bucket: str, samples: str
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    tensors, metadata = load_tensors(paths.elbo(name, bucket), spec.elbo_digest(model, samples), "np")
    return unpack_ids(tensors["ids"]), tensors["kl"].astype(np.float64), metadata


def _read_calibration(spec: CounterfactualSpec, paths: Paths, calibration: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weighted terms [M, G, S] of the calibration images, of the spec with this digest, and which are each group's."""
    ids, terms = _score_terms(spec, paths, CALIBRATION, calibration)
    held = []
    for group, expected in spec.members.items():
        members = read_members(paths.group(group), expected)
        held.append(np.array([sample_id in members for sample_id in ids]))
        if held[-1].all():
            raise ArtifactError(
                f"{paths.group(group)}: holds every calibration image, so none is retained; "
                "raise attribution.calibration.count"
            )
    return terms, held
