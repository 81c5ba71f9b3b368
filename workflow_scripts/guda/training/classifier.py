"""Training of the group classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from guda import config
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import derive_seed
from guda.data.labels import Memberships
from guda.data.pixels import to_network_range
from guda.models.classifier import GroupClassifier
from guda.models.noise_schedule import NoiseSchedule
from guda.training.loop import batch_rows, mirrored_at_random, optimize, random_steps
from guda.training.state import Execution


def train_classifier(
    images: Tensor,
    memberships: Memberships,
    unet: config.UNet,
    schedule: NoiseSchedule,
    settings: config.Training,
    execution: Execution = Execution(),
) -> tuple[GroupClassifier, int]:
    """Train a classifier from scratch on those of the uint8 images [N, C, H, W] that are in a group.

    Minimizes the cross-entropy at uniformly drawn diffusion steps, with targets uniform over an image's groups. Returns
    the network with its averaged (EMA) weights, and the evaluations spent (FORWARD_AND_BACKWARD per sample).
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("weights", settings.seed))
        classifier = GroupClassifier(unet, schedule, images.shape[1:], memberships.n_groups)
    classifier.to(execution.device)
    rows = memberships.grouped

    def draw(step: int) -> list[Tensor]:
        chosen = rows[batch_rows(step, len(rows), settings.batch_size, "train", settings.seed)]
        batch = to_network_range(images[chosen])
        if settings.flip:
            batch = mirrored_at_random(batch)
        return [batch, torch.randn_like(batch), random_steps(len(batch), schedule), memberships.shares(chosen)]

    def loss(x: Tensor, noise: Tensor, t: Tensor, shares: Tensor) -> Tensor:
        return -(shares * classifier(x, noise, t)).sum(1).mean()

    optimize(classifier, draw, loss, settings, settings.seed, execution, settings.ema_decay)
    return classifier, settings.steps * settings.batch_size * FORWARD_AND_BACKWARD
