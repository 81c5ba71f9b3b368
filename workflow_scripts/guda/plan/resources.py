"""Memory and time that each stage's jobs request from a cluster, estimated from data and network without torch.

Estimates are meant to be generous, not exact: a job that ran out of either is restarted with more (`attempt`), and
training resumes from its saved state. Nothing here makes a job stale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guda import config
from guda.core.records import FORWARD_AND_BACKWARD
from guda.evaluation.two_sample import MOST
from guda.methods import GRADIENT_METHODS
from guda.methods.gradients.plan import GRADIENTS, Gradients
from guda.methods.kernel.plan import GRID, PREDICTED, WEIGHTS
from guda.methods.proxy.plan import shortened
from guda.models.health import BATCH_SIZE, PROBES, SHARED
from guda.plan.families import FLOAT, Network

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

MB = 1e6
# Measured: a job's Python with torch and diffusers takes 0.4 GB; on a cluster, two Snakemake processes wrap it.
LIBRARIES = 600 * MB
# Measured: ids and digests of a million training images take 0.5 GB, in the job and in each Snakemake around it.
PLANNING = 1500  # bytes per image
# Weights, gradients, both moments and the average; the same again while saving the state; unlearning's full model.
COPIES = 11
# Bytes of per-sample gradients held at a time where they are squared individually.
SQUARED = 64 * MB
# Measured: per-sample gradients take up to three times as long as the gradient of the mean.
SINGLY = 3
# Bytes per ELBO term of a bucket: at most five float64 copies.
TERM = 40
# Operations per term: a thousand bootstrap resamples.
RESAMPLING = 2000
# Factor on the memory counted here, for what is not counted.
MARGIN = 1.5
# Operations per second of one core, pessimistic: 40e9 to 70e9 were measured on small networks.
SPEED = 10e9
# Minutes before and after a job's work: Python, planning, a slow file system.
OVERHEAD = 10
# Most minutes that a job requests, since partitions have limits; longer jobs continue in their next attempt.
LONGEST = 24 * 60


@dataclass(frozen=True)
class Need:
    """Memory (bytes) and work (floating point operations) of a job."""

    memory: float = LIBRARIES
    operations: float = 0

    def mem_mb(self, attempt: int = 1) -> int:
        """Megabytes to request, more with each attempt."""
        return math.ceil(attempt * MARGIN * self.memory / MB)

    def minutes(self, threads: int, attempt: int = 1) -> int:
        """Minutes to request, more with each attempt; LONGEST at most."""
        return min(LONGEST, attempt * math.ceil(OVERHEAD + self.operations / (threads * SPEED * 60)))


def needs(experiment: Experiment) -> dict[str, Need]:
    """What a job of each stage needs, by the stage's name, for its largest group and bucket."""
    settings, (channels, height, width) = experiment.config, experiment.dataset.image_shape
    training, batch_size = settings.training, settings.execution.batch_size
    n_images, n_queries = len(experiment.dataset.table), max(map(len, experiment.buckets.values()))
    n_scored = max(n_queries, settings.attribution.calibration.count)
    network = experiment.family.network()
    model, forward, kept = network.weights, network.operations, network.activations
    planned = LIBRARIES + PLANNING * n_images
    images = planned + n_images * channels * height * width
    seen = planned + n_images * network.sample_bytes
    # Without a backward pass, about half of the activations are in memory at any time.
    scored = planned + model + batch_size * kept / 2
    largest_group = max(map(len, experiment.groups.values()))
    n_steps = max(len(experiment.elbo_settings_of(schedule).steps) for schedule in experiment.schedules)
    by_middle = settings.attribution.embedding.model is None
    features = FLOAT * n_images * network.features if by_middle else 0  # for quality.csv whatever the methods are
    compared = features if {"embedding", "kernel"} & set(experiment.methods_used) else 0

    def trained(training: config.Training) -> Need:
        return Need(
            seen + COPIES * model + at_once(training.batch_size, settings.execution) * kept,
            FORWARD_AND_BACKWARD * forward * training.steps * training.batch_size,
        )

    def unlearned(samples: int, steps: int) -> Need:
        return Need(
            seen + COPIES * model + at_once(samples, settings.execution, 2) * kept,
            (FORWARD_AND_BACKWARD + 1) * forward * steps * samples,
        )

    return {
        "table": Need(planned),
        "images": Need(images),
        "encoded": Need(images + seen + batch_size * network.encoding, 10 * forward * max(n_images, n_scored)),
        "import": Need(seen + 2 * model + BATCH_SIZE * kept / 2, forward * PROBES * SHARED),
        "train": trained(training),
        "proxy": trained(shortened(training, settings.attribution.proxy)),
        "tune": trained(settings.queries.exemplars.training),
        "conditional": trained(training.changed(settings.attribution.conditional.training)),
        "classifier": trained(training.changed(settings.attribution.classifier.training)),
        "unlearn": unlearned(*unlearning_work(experiment)),
        "neighbors": Need(images, 2 * largest_group * n_images * channels * height * width),
        "queries": Need(
            scored + batch_size * network.encoding,
            network.passes * forward * n_queries * settings.queries.sampling_steps,
        ),
        "features": Need(images + scored + features, forward * max(n_images, n_queries)),
        "elbo": Need(scored, forward * n_scored * n_steps),
        "mixture": Need(scored, forward * n_queries * n_steps * (len(experiment.groups) + 1)),
        "fisher": fisher(experiment, network, seen),
        "influence": influence(experiment, network, seen),
        "gradients": gradients(experiment, network, seen),
        "kernel": kernel(experiment, network, scored + 2 * compared),
        "scores": scores(experiment, images + 2 * compared),
        "quality": Need(planned + 3 * features + 8 * 6 * MOST * network.features),
        "likelihood": likelihood(experiment, network, planned),
    }


# The stage of each rule that computes.
STAGES = {
    "generate_queries": "queries",
    "regenerate": "queries",
    "redrawn": "queries",
    "maps": "elbo",
    "pipeline": "train",
    "encoded_samples": "encoded",
    "encoded_anchors": "encoded",
    "train_base": "train",
    "train_own_base": "train",
    "train_logo": "train",
    "train_proxy": "proxy",
    "train_without": "train",
    "train_conditional": "conditional",
    "train_classifier": "classifier",
    "tune": "tune",
    "posteriors": "elbo",
} | {
    stage: stage
    for stage in (
        "neighbors", "unlearn", "features", "elbo", "mixture", "fisher", "influence", "gradients", "kernel", "scores",
        "likelihood",
    )
}  # fmt: skip


def work(experiment: Experiment) -> dict[str, float]:
    """Operations of a job of each rule that computes, as a measure of its relative duration."""
    of_stages = needs(experiment)
    return {rule: of_stages[stage].operations for rule, stage in STAGES.items()}


def unlearning_work(experiment: Experiment) -> tuple[int, int]:
    """Samples in the largest unlearning step, and steps of the longest unlearning."""
    operators, groups = experiment.operators_used, experiment.groups
    pairs = [(operator, operator.settings(experiment, group)) for operator in operators for group in groups]
    return max(operator.batch(settings) for operator, settings in pairs), max(settings.steps for _, settings in pairs)


def fisher(experiment: Experiment, network: Network, seen: float) -> Need:
    """The Fisher information of the weights that AbU changes."""
    abu, batch_size = experiment.config.attribution.abu, experiment.config.execution.batch_size
    moved = network.weights * (network.cross_attention if abu.parameters is None else 1)
    squared = max(moved, min(SQUARED, batch_size * moved))  # per-sample gradients squared at a time
    return Need(
        seen + network.weights + 3 * (moved + squared) + squared / moved * network.activations,
        FORWARD_AND_BACKWARD * network.operations * abu.fisher.images * abu.fisher.steps,
    )


def influence(experiment: Experiment, network: Network, seen: float) -> Need:
    """Influence on a bucket of queries, by the more expensive of AbU and MUCS.

    Each query takes a pass over the sampled training images, whose noise is kept in memory.
    """
    settings, n_images = experiment.config, len(experiment.dataset.table)
    abu, mucs, batch_size = settings.attribution.abu, settings.attribution.mucs, settings.execution.batch_size
    abu_pairs, mucs_pairs = ((method.train_sample or n_images) * method.loss_steps for method in (abu, mucs))
    views = 2 if settings.training.flip else 1
    abu_work = views * abu_pairs + FORWARD_AND_BACKWARD * abu.steps * abu.query_steps
    mucs_work = mucs_pairs + FORWARD_AND_BACKWARD * mucs.steps * 2 * mucs.batch_size
    noise = FLOAT * math.prod(network.shape) * max(abu_pairs, mucs_pairs)
    return Need(
        seen + COPIES * network.weights + noise + max(batch_size, 2 * mucs.batch_size) * network.activations,
        network.operations * max(map(len, experiment.buckets.values())) * max(abu_work, mucs_work),
    )


def kernel(experiment: Experiment, network: Network, read: float) -> Need:
    """ELBO terms of a bucket, shifted by kernels: each pair of a query and a step is compared with all images.

    Their weights are held three times in float64. An image counts once for each of its groups, and twice more.
    """
    n_images, groups = len(experiment.dataset.table), experiment.groups.values()
    pairs = max(map(len, experiment.buckets.values())) * experiment.config.attribution.kernel.steps
    compared = 2 * (2 * n_images + sum(map(len, groups)))
    shape = math.prod(network.shape)
    return Need(
        read + n_images * network.sample_bytes + 3 * 8 * (WEIGHTS + n_images),
        network.operations * pairs + 2 * shape * compared * (pairs + PREDICTED * len(GRID)),
    )


def likelihood(experiment: Experiment, network: Network, planned: float) -> Need:
    """Likelihoods, under one model, of the queries that the ELBO is compared on."""
    settings, batch_size = experiment.config.likelihood, experiment.config.execution.batch_size
    passes = 4 * settings.queries * settings.steps * (1 + 2 * settings.probes)
    kept = min(batch_size, max(settings.queries, 1)) * network.activations
    return Need(planned + network.weights + kept, network.operations * passes)


def at_once(samples: int, execution: config.Execution, kinds: int = 1) -> int:
    """Samples per micro-batch of a training step; with several kinds, micro_batch_size applies to each."""
    return min(samples, kinds * (execution.micro_batch_size or samples))


def gradients(experiment: Experiment, network: Network, seen: float) -> Need:
    """Projected gradients of training images or queries, for the most expensive of the methods that use them."""
    compared = compared_gradients(experiment)
    n = max(len(experiment.dataset.table), *map(len, experiment.buckets.values()))
    batch_size, parameters = experiment.config.execution.batch_size, network.weights / FLOAT
    steps = max((settings.steps for settings in compared), default=0)
    features = FLOAT * n * max((settings.projection_dim for settings in compared), default=0)
    # A batch's gradients, and as much again to compute and project them; a column and a sign per weight.
    at_once = max(parameters, min(GRADIENTS, batch_size * parameters))
    return Need(
        seen + network.weights + 3 * FLOAT * at_once + 5 * parameters + batch_size * network.activations + features,
        SINGLY * FORWARD_AND_BACKWARD * network.operations * n * steps,
    )


def scores(experiment: Experiment, read: float) -> Need:
    """Scores of one method: from ELBO terms, or from gradients with float64 matrices of the projection's size."""
    terms = len(experiment.groups) * len(experiment.elbo_settings.steps)  # per query
    n, dims = len(experiment.dataset.table), [settings.projection_dim for settings in compared_gradients(experiment)]
    dim = max(dims, default=0)
    n_queries = max(map(len, experiment.buckets.values()))
    return Need(
        read + TERM * n_queries * terms + FLOAT * n * dim + 8 * 8 * dim**2 + 8 * dim * n_queries,
        RESAMPLING * len(experiment.queries) * terms
        + 4 * n * dim**2
        + 30 * dim**3
        + 2 * n * dim * n_queries * len(experiment.buckets),
    )


def compared_gradients(experiment: Experiment) -> list[Gradients]:
    """Settings of the experiment's methods that compare gradients."""
    return [method.settings(experiment) for name, method in GRADIENT_METHODS.items() if name in experiment.methods_used]
