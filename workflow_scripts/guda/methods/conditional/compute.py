"""Scores from the ELBO terms of the conditional network."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
from scipy.special import logsumexp

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import CONDITIONAL, Paths, conditioned_model
from guda.data.groups import read_members
from guda.evaluation.scores import Scores
from guda.methods.conditional.plan import (
    ConditionalPosteriorSpec,
    LikelihoodRatio,
    LikelihoodRatioSpec,
    LogPosterior,
)
from guda.methods.resampling import summarize
from guda.models.noise_schedule import step_weights


def scores(method: LikelihoodRatio, spec: LikelihoodRatioSpec, paths: Paths) -> Scores:
    """ELBO(x | k) - ELBO(x)."""
    queries, terms = read_terms(spec, paths)
    return Scores(queries, spec.groups, *summarize(terms))


def log_posteriors(method: LogPosterior, spec: ConditionalPosteriorSpec, paths: Paths) -> Scores:
    """log p(k | x), with the group frequencies of the conditional network's training as the prior."""
    queries, terms = read_terms(spec, paths)
    groups = [read_members(paths.group(group), expected) for group, expected in spec.members.items()]
    prior = np.log(label_shares(groups))
    return Scores(queries, spec.groups, *summarize(terms, lambda sums: log_posterior(sums, prior)))


def label_shares(groups: list[set[str]]) -> np.ndarray:
    """p(k), [G]: the share of each label in training, from the ids of each group's members.

    In training an image has the label of one of its groups, drawn uniformly each time; images in no group have none.
    """
    counts = Counter(chain.from_iterable(groups))
    shares = np.array([sum(1 / counts[member] for member in sorted(members)) for members in groups])
    return shares / len(counts)


def log_posterior(log_likelihoods: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """log p(k | x), [G, ...], from log p(x | k) up to a term shared by all groups, [G, ...], and log p(k), [G].

    Computed as -log(1 + exp(-o)) of the log odds o_k = l_k + log p(k) - logsumexp over the other groups, which still
    orders images whose group is nearly certain.
    """
    joint = log_likelihoods + log_prior.reshape(-1, *[1] * (log_likelihoods.ndim - 1))
    others = [logsumexp(np.delete(joint, group, axis=0), axis=0) for group in range(len(joint))]
    return -np.logaddexp(0, np.stack(others) - joint)


def read_terms(spec: LikelihoodRatioSpec, paths: Paths) -> tuple[list[str], np.ndarray]:
    """Ids of the n queries and their weighted terms w_i (KL_i - KL_i given k), float64 [n, G, S].

    Raises ArtifactError for a file that does not match the spec.
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
                f"{path}: its samples or model differ from those of {files[0]}. Delete both and run snakemake again."
            )
    kl = np.stack([tensors["kl"].astype(np.float64) for tensors, _ in read], axis=1)
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)
    return ids, (kl[:, :1] - kl[:, 1:]) * weights
