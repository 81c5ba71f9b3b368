"""Measures the health of models on the same few training images, diffusion steps and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.seeding import derive_seed, gaussian
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.models.denoisers import UNetDenoiser
from guda.models.health import BATCH_SIZE, PROBES, SHARED, warn
from guda.scoring.losses import evenly_spaced
from guda.specs import ModelSpec

if TYPE_CHECKING:
    from guda.data.labels import Memberships
    from guda.models.classifier import GroupClassifier

NAME, SEED = "health", 0
ADVICE = "lower the learning rate"
FOLLOWED = 2 * PROBES  # held-out images on which the loss is tracked, and as many training images


def probes(ids: list[str], n_steps: int, forgotten: Tensor | None = None) -> tuple[list[int], Tensor]:
    """Rows of the images that a model is measured on, and their diffusion steps, int64.

    The images are the first retained ones by a hash of their ids. `forgotten` bool [N] marks the images that the model
    excludes; None: none, and SHARED times as many images are used. Steps are spread evenly over 0..n_steps-1 in hash
    order, so an image has the same step for every model.
    """
    order = sorted(range(len(ids)), key=lambda row: derive_seed(NAME, ids[row]))
    spread = evenly_spaced(min(PROBES, len(ids)), n_steps)
    steps = ((row, int(spread[rank % len(spread)])) for rank, row in enumerate(order))
    if forgotten is None:
        taken = list(islice(steps, SHARED * PROBES))
    else:
        retained = (~forgotten).tolist()
        taken = list(islice(((row, step) for row, step in steps if retained[row]), PROBES))
    return [row for row, _ in taken], torch.tensor([step for _, step in taken])


def drawn_noise(training_set: TrainingSet, rows: list[int], steps: Tensor) -> Tensor:
    """The noise of each image, float32 [n, C, H, W], determined by its id and step."""
    shape = tuple(training_set.images.shape[1:])
    pairs = zip(rows, steps.tolist(), strict=True)
    return torch.from_numpy(np.stack([gaussian(SEED, training_set.ids[row], step, shape) for row, step in pairs]))


@torch.no_grad()
def probe_errors(
    denoiser: UNetDenoiser, training_set: TrainingSet, rows: list[int], steps: Tensor, batch_size: int = BATCH_SIZE
) -> tuple[Tensor, Tensor]:
    """Mean square over pixels of the network's prediction error, and of its target; float64 [n] each.

    Each image is evaluated at its diffusion step with one noise, conditioned on its first prompt (or on no group), in
    evaluation mode, in float32 and on the network's device. Raises FloatingPointError if an error is not finite.
    """
    denoiser.eval()
    x, noise = to_network_range(training_set.images[rows]), drawn_noise(training_set, rows, steps)
    drawn = [tensor for tensor in (x, noise, steps, training_set.conditions(rows)) if tensor is not None]

    def of_part(part: Sequence[int]) -> Tensor:
        found = denoiser.own_errors(*(tensor[list(part)].to(denoiser.device) for tensor in drawn))
        return torch.stack(found).double().cpu()

    parts = Batches(batch_size).run(of_part, range(len(rows)))
    errors, powers = torch.cat(parts, dim=1)
    if not torch.isfinite(errors).all():
        raise FloatingPointError(f"the model's loss on training images is not finite; {ADVICE}")
    return errors, powers


def losses_of_both(
    denoiser: UNetDenoiser, training_set: TrainingSet, aside: TrainingSet | None, micro_batch_size: int = 0
) -> tuple[float, float | None]:
    """Loss on some training images and some held-out images, relative to predicting zero.

    FOLLOWED images of each, or as many as there are, each at one diffusion step with one noise. Draws no random
    numbers. The second is None if no images are held out.
    """
    held_out = _mean_loss(denoiser, aside, micro_batch_size) if aside else None
    return _mean_loss(denoiser, training_set, micro_batch_size), held_out


def _mean_loss(denoiser: UNetDenoiser, images: TrainingSet, micro_batch_size: int) -> float:
    rows, steps = probes(images.ids, len(denoiser.gammas))
    batch_size = min(BATCH_SIZE, micro_batch_size or BATCH_SIZE)
    errors, powers = probe_errors(denoiser, images, rows[:FOLLOWED], steps[:FOLLOWED], batch_size)
    return (errors.mean() / powers.mean()).item()


def measured(
    denoiser: UNetDenoiser,
    spec: ModelSpec,
    training_set: TrainingSet,
    forgotten: Tensor | None = None,
    base: UNetDenoiser | None = None,
    micro_batch_size: int = 0,
) -> dict[str, Any]:
    """The health of a model of `spec`, for its record (`guda.models.health`); warns on stderr if it is poor.

    `forgotten` bool [N] marks the images that the model excludes. With `base`, the model that it was derived from, the
    ratio of their losses is included. Images are processed in batches of BATCH_SIZE, or of `micro_batch_size` (0: not
    set) if smaller. Raises FloatingPointError if a loss is not finite.
    """
    rows, steps = probes(training_set.ids, len(denoiser.gammas), forgotten)
    task = training_set, rows, steps, min(BATCH_SIZE, micro_batch_size or BATCH_SIZE)
    errors, powers = probe_errors(denoiser, *task)
    found: dict[str, Any] = {"loss": (errors.mean() / powers.mean()).item()}
    if base is None:
        names = [training_set.ids[row] for row in rows]
        found["errors"] = {name: float(f"{error:.6g}") for name, error in zip(names, errors.tolist(), strict=True)}
    else:
        before, _ = probe_errors(base, *task)
        found["base_loss"] = (before.mean() / powers.mean()).item()
        found["ratio"] = (errors.mean() / before.mean()).item()
    warn(found, spec)
    return found


@torch.no_grad()
def measured_classifier(
    classifier: GroupClassifier, spec: ModelSpec, training_set: TrainingSet, memberships: Memberships
) -> dict[str, Any]:
    """The health of a group classifier: its loss is the cross-entropy relative to that of guessing."""
    classifier.eval()
    grouped = torch.zeros(len(training_set.ids), dtype=torch.bool)
    grouped[memberships.grouped] = True
    rows, steps = probes(training_set.ids, len(classifier.gammas), ~grouped)
    x, noise = to_network_range(training_set.images[rows]), drawn_noise(training_set, rows, steps)
    drawn = x, noise, steps, memberships.shares(torch.tensor(rows))

    def of_part(part: Sequence[int]) -> Tensor:
        *images, shares = (tensor[list(part)].to(classifier.device) for tensor in drawn)
        return -(shares * classifier(*images)).sum(1).double().cpu()

    loss = torch.cat(Batches(BATCH_SIZE).run(of_part, range(len(rows)))).mean().item()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the classifier's loss on training images is not finite; {ADVICE}")
    found = {"loss": loss / math.log(max(2, memberships.n_groups))}
    warn(found, spec)
    return found
