"""What the jobs of text-to-image models ask a cluster for; see guda.plan.resources."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guda.core.hub import HUB_ID
from guda.core.paths import CONFIG
from guda.core.records import FORWARD_AND_BACKWARD
from guda.models.checkpoints.files import DIFFUSERS, found_checkpoint, read_headers, read_object
from guda.models.stable_diffusion.folder import DEFAULTS, PIPELINE_KEY
from guda.plan.resources import COPIES, FLOAT, LIBRARIES, PLANNING, RESAMPLING, SQUARED, TERM, Need, at_once

if TYPE_CHECKING:
    from guda.plan.text_experiment import TextExperiment

# Numbers that a sample's way through the network leaves at the finest resolution, for each of its channels there.
ACTIVATIONS = 120
# Of a network's weights each is at work at a part of the finest resolution's pixels.
SHARE = 1 / 4


class Network(NamedTuple):
    """Size of a denoising network: bytes of its weights, channels and latents' pixels at the finest resolution.

    `middle`: numbers that leave its middle block.
    """

    weights: float
    channels: int
    pixels: float
    middle: float

    @property
    def operations(self) -> float:
        """About how many one sample's forward pass takes."""
        return 2 * self.weights / FLOAT * self.pixels * SHARE

    @property
    def activations(self) -> float:
        """About how many bytes it leaves behind for the way back."""
        return FLOAT * ACTIVATIONS * self.channels * self.pixels


# Stable Diffusion 1.5, which stands for what is not on this machine yet.
WEIGHTS_OF_SD, CHANNELS_OF_SD, SHRINKING_OF_SD = 860e6 * FLOAT, [320, 640, 1280, 1280], 8
# Of its weights, keys and values of cross-attention.
KEYS_AND_VALUES = 1 / 45


def network(experiment: TextExperiment) -> Network:
    """That of the experiment's pipeline, as far as can be known when planning."""
    _, height, width = experiment.dataset.image_shape
    pixels, source = height * width, experiment.text.pipeline
    if source is None:
        small = experiment.text.small_pipeline
        weights = 100 * FLOAT * sum(channels**2 for channels in small.unet_channels) * small.layers_per_block
        return _network(weights, small.unet_channels, pixels / 4 ** (len(small.vae_channels) - 1))
    if HUB_ID.fullmatch(source):
        return _network(WEIGHTS_OF_SD, CHANNELS_OF_SD, pixels / SHRINKING_OF_SD**2)
    unet, vae = (DEFAULTS[part] | read_object(Path(source, part, CONFIG), PIPELINE_KEY) for part in ("unet", "vae"))
    headers = read_headers(found_checkpoint(Path(source, "unet"), DIFFUSERS, PIPELINE_KEY), PIPELINE_KEY)
    weights = FLOAT * sum(math.prod(header.shape) for header in headers.values())
    return _network(weights, unet["block_out_channels"], pixels / 4 ** (len(vae["block_out_channels"]) - 1))


def _network(weights: float, channels: list[int], pixels: float) -> Network:
    return Network(weights, channels[0], pixels, channels[-1] * pixels / 4 ** (len(channels) - 1))


def text_needs(experiment: TextExperiment) -> dict[str, Need]:
    """What a job of each stage needs, by the stage's name, for its largest group and bucket."""
    config, (channels, height, width) = experiment.config, experiment.dataset.image_shape
    n_images, batch_size = len(experiment.dataset.table), config.execution.batch_size
    n_queries = max(map(len, experiment.buckets.values()))
    n_scored = max(n_queries, config.attribution.calibration.count)
    model, forward, kept = (found := network(experiment)).weights, found.operations, found.activations
    planned = LIBRARIES + PLANNING * n_images
    images = planned + n_images * channels * height * width
    encoded = planned + FLOAT * n_images * channels * found.pixels
    # Without a way back, about half of a forward pass is there at any time.
    scored = planned + model + batch_size * kept / 2
    # The autoencoder sees whole images, at its finest resolution with fewer channels than the network has.
    autoencoder = batch_size * FLOAT * ACTIVATIONS / 4 * found.channels * height * width
    terms = len(experiment.groups) * len(experiment.elbo_settings.steps)
    training, anchors = config.training, experiment.text.anchors
    by_middle = "embedding" in config.methods and config.attribution.embedding.model is None
    features = FLOAT * n_images * found.middle if by_middle else 0
    abu, mucs = config.attribution.abu, config.attribution.mucs
    # Weights that move by the Fisher information, and the gradients of samples that are squared at a time.
    moved = model * KEYS_AND_VALUES if abu.parameters is None else model
    squared = max(moved, min(SQUARED, batch_size * moved))
    # For each query a pass over the sampled training images, whose noise is kept.
    abu_pairs, mucs_pairs = ((method.train_sample or n_images) * method.loss_steps for method in (abu, mucs))
    noise = FLOAT * channels * found.pixels * max(abu_pairs, mucs_pairs)
    influence = max(
        abu_pairs + FORWARD_AND_BACKWARD * abu.steps * abu.query_steps,
        mucs_pairs + FORWARD_AND_BACKWARD * mucs.steps * 2 * mucs.batch_size,
    )
    return {
        "table": Need(planned),
        "images": Need(images),
        "encoded": Need(images + encoded + autoencoder, 10 * forward * max(n_images, n_scored)),
        "train": Need(
            encoded + COPIES * model + at_once(training.batch_size, config.execution) * kept,
            FORWARD_AND_BACKWARD * forward * training.steps * training.batch_size,
        ),
        "unlearn": Need(
            encoded + COPIES * model + at_once(2 * anchors.batch_size, config.execution, 2) * kept,
            (FORWARD_AND_BACKWARD + 1) * forward * anchors.steps * 2 * anchors.batch_size,
        ),
        "queries": Need(scored + autoencoder, 2 * forward * n_queries * config.queries.sampling_steps),
        "features": Need(images + scored + features, forward * max(n_images, n_queries)),
        "fisher": Need(
            encoded + model + 3 * (moved + squared) + squared / moved * kept,
            FORWARD_AND_BACKWARD * forward * abu.fisher.images * abu.fisher.steps,
        ),
        "influence": Need(
            encoded + COPIES * model + noise + max(batch_size, 2 * mucs.batch_size) * kept,
            forward * n_queries * influence,
        ),
        "elbo": Need(scored, forward * n_scored * len(experiment.elbo_settings.steps)),
        "scores": Need(images + 2 * features + TERM * n_queries * terms, RESAMPLING * len(experiment.queries) * terms),
    }
