"""Scores from the likelihood terms of the conditional network."""

from __future__ import annotations

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import CONDITIONAL, Paths, conditioned_model
from guda.evaluation.scores import Scores
from guda.methods.conditional.plan import LikelihoodRatio, LikelihoodRatioSpec
from guda.methods.resampling import summarise
from guda.models.noise_schedule import step_weights


def scores(method: LikelihoodRatio, spec: LikelihoodRatioSpec, paths: Paths) -> Scores:
    """ELBO(x | k) - ELBO(x)."""
    queries, terms = read_terms(spec, paths)
    return Scores(queries, spec.groups, *summarise(terms))


def read_terms(spec: LikelihoodRatioSpec, paths: Paths) -> tuple[list[str], np.ndarray]:
    """Ids of the n queries and their weighted terms w_i (KL_i - KL_i given k), float64 [n, G, S].

    Raises ArtifactError for a file that is not of the spec.
    """
    read = [_of_bucket(spec, paths, bucket) for bucket in spec.buckets]
    return [query for ids, _ in read for query in ids], np.concatenate([terms for _, terms in read])


def _of_bucket(spec: LikelihoodRatioSpec, paths: Paths, bucket: str) -> tuple[list[str], np.ndarray]:
    files = [paths.elbo(model, bucket) for model in [CONDITIONAL, *map(conditioned_model, spec.groups)]]
    digests = spec.elbo_digests(bucket)
    read = [load_tensors(path, expected, "np") for path, expected in zip(files, digests, strict=True)]
    ids, checkpoint = unpack_ids(read[0][0]["ids"]), read[0][1]["model_sha256"]
    for path, (tensors, metadata) in zip(files, read, strict=True):
        if (unpack_ids(tensors["ids"]), metadata["model_sha256"]) != (ids, checkpoint):
            raise ArtifactError(
                f"{path}: of other samples or another checkpoint than {files[0]}. Delete both and run snakemake again."
            )
    kl = np.stack([tensors["kl"].astype(np.float64) for tensors, _ in read], axis=1)
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)
    return ids, (kl[:, :1] - kl[:, 1:]) * weights
