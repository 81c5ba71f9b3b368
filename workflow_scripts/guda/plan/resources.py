"""What each stage's jobs ask a cluster for: memory and time, estimated from the data and the network without torch.

Estimates are meant to be generous, never exact: a job that was short of either is started again with more (`attempt`),
and a training goes on from its saved state. Nothing here makes a job stale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from guda import config
from guda.core.records import FORWARD_AND_BACKWARD
from guda.methods import GRADIENT_METHODS
from guda.methods.gradients import GRADIENTS
from guda.models.health import BATCH_SIZE, PROBES, SHARED
from guda.unlearning import ESD, FINETUNE, NEGGRAD

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

FLOAT = 4  # bytes
MB = 1e6
# Measured: a job's Python with torch and diffusers has 0.4 GB; on a cluster, two Snakemakes stand around it.
LIBRARIES = 600 * MB
# Measured: ids and digests of a million training images have 0.5 GB, in the job and in the Snakemakes around it.
PLANNING = 1500  # bytes an image
# Weights, gradients, both moments and the average; the same again while a state is saved; unlearning's full model.
COPIES = 11
# Bytes of samples' gradients at a time, where these are squared one by one.
SQUARED = 64 * MB
# Measured: samples' own gradients take up to three times as long as the gradient of their mean.
SINGLY = 3
# Bytes of each likelihood term of a bucket: five copies in float64 at most.
TERM = 40
# Operations for each of them: a thousand resamples.
RESAMPLING = 2000
# Over all that is counted here, for what is not.
MARGIN = 1.5
# Operations a second of one processor, pessimistic: 40e9 to 70e9 were measured on small networks.
SPEED = 10e9
# Minutes until a job is at work and after it: Python, planning, a slow file system.
OVERHEAD = 10
# Minutes that no job asks for more than, since partitions have limits; what takes longer goes on in its next attempt.
LONGEST = 24 * 60


@dataclass(frozen=True)
class Need:
    """Memory (bytes) and work (floating point operations) of a job."""

    memory: float = LIBRARIES
    operations: float = 0

    def mem_mb(self, attempt: int = 1) -> int:
        """Megabytes to ask for, more with each attempt."""
        return math.ceil(attempt * MARGIN * self.memory / MB)

    def minutes(self, threads: int, attempt: int = 1) -> int:
        """Minutes to ask for, more with each attempt; LONGEST at most."""
        return min(LONGEST, attempt * math.ceil(OVERHEAD + self.operations / (threads * SPEED * 60)))


class Layer(NamedTuple):
    """A residual layer of the network: two 3x3 convolutions on so many pixels, from and to so many channels."""

    pixels: float
    inputs: int
    outputs: int
    attention: bool

    @property
    def weights(self) -> int:
        """Numbers in its kernels, with those of its shortcut and its attention."""
        shortcut = self.inputs * self.outputs if self.inputs != self.outputs else 0
        return 9 * (self.inputs + self.outputs) * self.outputs + shortcut + 4 * self.attention * self.outputs**2

    @property
    def activations(self) -> float:
        """Numbers of one sample kept for the way back, around each normalisation, convolution and attention."""
        return self.pixels * (3 * self.inputs + (6 + 8 * self.attention) * self.outputs)


def layers(unet: config.UNet, pixels: int) -> Iterator[Layer]:
    """The network's residual layers, in order, for images of so many pixels."""
    channels, before = unet.block_out_channels, unet.block_out_channels[0]
    sizes = [pixels / 4**level for level in range(len(channels))]
    for size, here, block in zip(sizes, channels, unet.down_block_types, strict=True):
        for _ in range(unet.layers_per_block):
            yield Layer(size, before, here, block.startswith("Attn"))
            before = here
    if unet.mid_block_type:
        yield from [Layer(sizes[-1], before, before, unet.add_attention)] * 2
    for size, here, block in zip(reversed(sizes), reversed(channels), unet.up_block_types, strict=True):
        for _ in range(unet.layers_per_block + 1):
            yield Layer(size, before + here, here, block.startswith("Attn"))
            before = here


def parameters(unet: config.UNet) -> int:
    """About how many the network has: kernels, what brings the diffusion step to each layer, and resampling."""
    embedding = unet.time_embedding_dim or 4 * unet.block_out_channels[0]
    resampling = 2 * sum(9 * channels**2 for channels in unet.block_out_channels[:-1])
    return resampling + embedding**2 + sum(layer.weights + embedding * layer.outputs for layer in layers(unet, 1))


def operations(unet: config.UNet, pixels: int) -> float:
    """About how many one sample's forward pass takes: a multiplication and an addition per weight and pixel."""
    return 2 * sum(layer.weights * layer.pixels for layer in layers(unet, pixels))


def activations(unet: config.UNet, pixels: int) -> float:
    """About how many bytes one sample's forward pass leaves behind for the way back."""
    return FLOAT * sum(layer.activations for layer in layers(unet, pixels))


def needs(experiment: Experiment) -> dict[str, Need]:
    """What a job of each stage needs, by the stage's name, for its largest group and bucket."""
    settings, (channels, height, width) = experiment.config, experiment.dataset.image_shape
    n_images, pixels = len(experiment.dataset.table), height * width
    planned = LIBRARIES + PLANNING * n_images
    read = planned + n_images * channels * pixels
    model, forward = FLOAT * parameters(settings.unet), operations(settings.unet, pixels)
    kept = activations(settings.unet, pixels)
    largest_group = max(map(len, experiment.groups.values()))
    n_queries = max(map(len, experiment.buckets.values()))
    n_scored = max(n_queries, settings.attribution.calibration.count)
    unlearned, unlearned_steps = unlearning_work(experiment)
    n_steps = max(len(experiment.elbo_settings_of(schedule).steps) for schedule in experiment.schedules)
    # Without a way back, about half of a forward pass is there at any time.
    scored = model + settings.execution.batch_size * kept / 2
    # Features come from the coarsest resolution. A vision model's are fewer, its own size is not counted.
    features = settings.unet.block_out_channels[-1] * pixels / 4 ** (len(settings.unet.block_out_channels) - 1)
    abu, mucs, batch_size = settings.attribution.abu, settings.attribution.mucs, settings.execution.batch_size
    views = 2 if settings.training.flip else 1
    # For each query a pass over the sampled training images, whose noise is kept.
    abu_pairs, mucs_pairs = ((method.train_sample or n_images) * method.loss_steps for method in (abu, mucs))
    noise = FLOAT * channels * pixels * max(abu_pairs, mucs_pairs)
    squared = max(model, min(SQUARED, batch_size * model))
    abu_work = views * abu_pairs + FORWARD_AND_BACKWARD * abu.steps * abu.query_steps
    mucs_work = mucs_pairs + FORWARD_AND_BACKWARD * mucs.steps * 2 * mucs.batch_size

    def trained(training: config.Training) -> Need:
        return Need(
            read + COPIES * model + at_once(training.batch_size, settings.execution) * kept,
            FORWARD_AND_BACKWARD * forward * training.steps * training.batch_size,
        )

    return {
        "table": Need(planned),
        "images": Need(read),
        "import": Need(read + 2 * model + BATCH_SIZE * kept / 2, forward * PROBES * SHARED),
        "train": trained(settings.training),
        "conditional": trained(settings.training.changed(settings.attribution.conditional.training)),
        "classifier": trained(settings.training.changed(settings.attribution.classifier.training)),
        "unlearn": Need(
            read + COPIES * model + at_once(unlearned, settings.execution, 2) * kept,
            (FORWARD_AND_BACKWARD + 1) * forward * unlearned_steps * unlearned,
        ),
        "neighbors": Need(read, 2 * largest_group * n_images * channels * pixels),
        "queries": Need(planned + scored, forward * n_queries * settings.queries.sampling_steps),
        "features": Need(read + scored + FLOAT * n_images * features, forward * max(n_images, n_queries)),
        "elbo": Need(planned + scored, forward * n_scored * n_steps),
        "fisher": Need(
            read + 4 * model + 3 * squared + squared / model * kept,
            FORWARD_AND_BACKWARD * forward * abu.fisher.images * abu.fisher.steps,
        ),
        "influence": Need(
            read + COPIES * model + noise + max(batch_size, 2 * mucs.batch_size) * kept,
            forward * n_queries * max(abu_work, mucs_work),
        ),
        "gradients": gradients(experiment, read + model, forward, kept),
        "scores": scores(experiment, read),
        "likelihood": Need(
            planned + model + min(settings.execution.batch_size, max(settings.likelihood.queries, 1)) * kept,
            forward
            * settings.likelihood.queries
            * settings.likelihood.steps
            * 4
            * (1 + 2 * settings.likelihood.probes),
        ),
    }


def at_once(samples: int, execution: config.Execution, kinds: int = 1) -> int:
    """Samples of a training step that are worked off together; of some kinds, micro_batch_size is of each."""
    return min(samples, kinds * (execution.micro_batch_size or samples))


def unlearning_work(experiment: Experiment) -> tuple[int, int]:
    """Images of the largest step of an unlearning, and steps of the longest.

    ReTrack takes as many retained images as forget images, and asks the full model about both.
    """
    operators = experiment.operators.keys() - {ESD, FINETUNE, NEGGRAD}
    retrack = [experiment.unlearning(operator, group) for operator in operators for group in experiment.groups]
    work = [(2 * settings.batch_size, settings.steps) for settings in retrack]
    if ESD in experiment.config.methods:
        esd = experiment.config.attribution.guda_esd
        work.append((2 * esd.batch_size, esd.steps))
    if FINETUNE in experiment.config.methods:
        work.append((experiment.finetuning.batch_size, experiment.finetuning.steps))
    if NEGGRAD in experiment.config.methods:
        neggrad = experiment.config.attribution.neggrad
        work.append((2 * neggrad.batch_size, neggrad.steps))
    batch_sizes, steps = zip(*work, strict=True)
    return max(batch_sizes), max(steps)


def gradients(experiment: Experiment, read: float, forward: float, kept: float) -> Need:
    """Projected gradients of the training images or of queries, for the costliest of the methods that take them."""
    compared = compared_gradients(experiment)
    n = max(len(experiment.dataset.table), *map(len, experiment.buckets.values()))
    unet, batch_size = experiment.config.unet, experiment.config.execution.batch_size
    steps = max((settings.steps for settings in compared), default=0)
    features = FLOAT * n * max((settings.projection_dim for settings in compared), default=0)
    # The gradients of a batch, and as much while they are computed and projected; a column and a sign a weight.
    at_once = max(parameters(unet), min(GRADIENTS, batch_size * parameters(unet)))
    return Need(
        read + 3 * FLOAT * at_once + 5 * parameters(unet) + batch_size * kept + features,
        SINGLY * FORWARD_AND_BACKWARD * forward * n * steps,
    )


def scores(experiment: Experiment, read: float) -> Need:
    """Scores of one method: by likelihood terms, or by gradients, with matrices of the projection's size in float64."""
    terms = len(experiment.groups) * len(experiment.elbo_settings.steps)  # of a query
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


def compared_gradients(experiment: Experiment) -> list[config.Gradients]:
    """Settings of the experiment's methods that compare gradients."""
    return [
        method.settings(experiment) for name, method in GRADIENT_METHODS.items() if name in experiment.config.methods
    ]
