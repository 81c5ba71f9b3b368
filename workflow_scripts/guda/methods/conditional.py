"""Under which group is the image likeliest? Likelihood ratios from one network that is told the group.

score_k(x) = ELBO(x | k) - ELBO(x), both of the group-conditional network: an estimate of log p(x | k) / p(x). The
second term, where the network is told no group, is the same for all k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import ArtifactError
from guda.core.paths import CONDITIONAL, Paths, conditioned_model
from guda.evaluation.scores import Scores
from guda.methods.counterfactual import summarise
from guda.methods.method import Needs
from guda.models.noise_schedule import step_weights
from guda.specs import ConditionalElboSpec, ElboSpec, LikelihoodRatioSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class LikelihoodRatio:
    """Scores by the likelihood terms of the conditional network, told each group in turn."""

    def spec(self, experiment: Experiment) -> LikelihoodRatioSpec:
        return LikelihoodRatioSpec(
            elbo=experiment.elbo_settings,
            model=experiment.model_digest(CONDITIONAL),
            groups=list(experiment.labels),
            buckets=experiment.bucket_digests(),
        )

    def parse(self, text: str) -> LikelihoodRatioSpec:
        return LikelihoodRatioSpec.parse(text)

    def needs(self, spec: LikelihoodRatioSpec, paths: Paths) -> Needs:
        models = [CONDITIONAL, *map(conditioned_model, spec.groups)]
        records = {
            paths.elbo_record(model, bucket): expected
            for bucket in spec.buckets
            for model, expected in zip(models, _elbo_digests(spec, bucket), strict=True)
        }
        files = [paths.elbo(model, bucket) for model in models for bucket in spec.buckets]
        return Needs(files, {paths.model_record(CONDITIONAL): spec.model}, records)

    def scores(self, spec: LikelihoodRatioSpec, paths: Paths) -> Scores:
        read = [_read_terms(spec, paths, bucket) for bucket in spec.buckets]
        queries = [query for ids, _ in read for query in ids]
        return Scores(queries, spec.groups, *summarise(np.concatenate([terms for _, terms in read])))


def _read_terms(spec: LikelihoodRatioSpec, paths: Paths, bucket: str) -> tuple[list[str], np.ndarray]:
    """Ids of a bucket and its weighted terms w_i (KL_i - KL_i given k), float64 [n, G, S]."""
    files = [paths.elbo(model, bucket) for model in [CONDITIONAL, *map(conditioned_model, spec.groups)]]
    read = [
        load_tensors(path, expected, "np") for path, expected in zip(files, _elbo_digests(spec, bucket), strict=True)
    ]
    ids, checkpoint = unpack_ids(read[0][0]["ids"]), read[0][1]["model_sha256"]
    for path, (tensors, metadata) in zip(files, read, strict=True):
        if (unpack_ids(tensors["ids"]), metadata["model_sha256"]) != (ids, checkpoint):
            raise ArtifactError(
                f"{path}: of other samples or another checkpoint than {files[0]}. Delete both and run snakemake again."
            )
    kl = np.stack([tensors["kl"].astype(np.float64) for tensors, _ in read], axis=1)
    weights = step_weights(np.array(spec.elbo.steps), spec.elbo.first, spec.elbo.last)
    return ids, (kl[:, :1] - kl[:, 1:]) * weights


def _elbo_digests(spec: LikelihoodRatioSpec, bucket: str) -> list[str]:
    """Of the specs of a bucket's likelihood terms: told no group, then each."""
    values = {"model": spec.model, "samples": spec.buckets[bucket], "elbo": spec.elbo}
    told = [ConditionalElboSpec(**values, label=label) for label in range(len(spec.groups))]
    return [job.digest() for job in [ElboSpec(**values), *told]]
