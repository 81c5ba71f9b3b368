"""Scores from the ELBO terms of counterfactual models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import CALIBRATION, Paths
from guda.data.groups import read_members
from guda.evaluation.scores import Scores
from guda.methods.another_run import first_of_another_run
from guda.methods.counterfactual.plan import AnySpec, Counterfactual, CounterfactualSpec
from guda.methods.counterfactual.retained import Retained, calibrated, no_first_group, retained
from guda.models.forgetting import forgetting, summary
from guda.models.noise_schedule import step_weights


def scores(method: Counterfactual, spec: AnySpec, paths: Paths) -> Scores:
    """ELBO(x; full) - ELBO(x; without k), minus the damage if the method is calibrated; averaged over runs.

    The details of a calibrated method include how far each group was forgotten.
    """
    paths, first = paths.with_schedule(method.schedule), spec.runs[0]
    calibration: Retained | None = None
    details: dict[str, Any] = {}
    if first.calibration is not None:
        runs, held = _read_calibration(spec, paths, first.calibration)
        calibration = retained(runs, held)
        forgotten = forgetting(runs.mean(axis=0).sum(axis=2), held)
        found = dict(zip(first.models, forgotten, strict=True))
        details = {"forgetting": found} | summary(found)
    queries, parts = [], []
    for bucket, samples in first.buckets.items():  # one bucket at a time, to bound memory
        ids, terms = mean_terms(spec, paths, bucket, samples)
        queries += ids
        parts.append(calibrated(terms, calibration))
    score, se, p_top1_scoring, error = (np.concatenate(values) for values in zip(*parts, strict=True))
    p_top1 = first_of_another_run(score, error)
    p_none = None if calibration is None else no_first_group(score, calibration.highest)
    return Scores(queries, list(first.models), score, se, p_top1_scoring, p_top1, p_none, details=details)


def weighted_differences(full: np.ndarray, without: Iterable[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """w_i (KL_i without k - KL_i full) of every image, group and step, float64 [n, G, S]; a score is their sum over S.

    `full` float64 [n, S] are the base model's terms, `without` those of each group's counterfactual model, and
    `weights` [S] the number of steps that each term represents.
    """
    return np.stack([terms - full for terms in without], axis=1) * weights


def mean_terms(spec: AnySpec, paths: Paths, bucket: str, samples: str) -> tuple[list[str], np.ndarray]:
    """Ids of a bucket and its weighted terms averaged over runs, float64 [n, G, S]."""
    first, *others = spec.runs
    ids, total = _score_terms(first, paths, bucket, samples)
    for run in others:
        total += _score_terms(run, paths, bucket, samples)[1]
    return ids, total / len(spec.runs)


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


def _read_calibration(spec: AnySpec, paths: Paths, calibration: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weighted terms [K, M, G, S] of the calibration images in K runs, from the spec with this digest.

    Also a mask of each group's images.
    """
    found = [_score_terms(run, paths, CALIBRATION, calibration) for run in spec.runs]
    ids, runs = found[0][0], np.stack([terms for _, terms in found])
    held = []
    for group, expected in spec.runs[0].members.items():
        members = read_members(paths.group(group), expected)
        held.append(np.array([sample_id in members for sample_id in ids]))
        if held[-1].all():
            raise ArtifactError(
                f"{paths.group(group)}: holds every calibration image, so none is retained; "
                "raise attribution.calibration.count"
            )
    return runs, held
