"""What a model's health is measured on: the same few training images, diffusion steps and noise for all models."""

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
FOLLOWED = 2 * PROBES  # images kept aside on which the loss is followed, and as many of the training set


def probes(ids: list[str], n_steps: int, forgotten: Tensor | None = None) -> tuple[list[int], Tensor]:
    """Rows of the images that a model is measured on, and the diffusion step of each, int64.

    The images are the first by a hash of their ids, of those that the model was to retain: `forgotten` bool [N] is what
    it was made without; None: nothing, and there are SHARED times as many. Steps are spread evenly over 0..n_steps-1 in
    the order of the hash. An image has the same one for every model.
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
    """The noise of each image, float32 [n, C, H, W], by its id and step."""
    shape = tuple(training_set.images.shape[1:])
    pairs = zip(rows, steps.tolist(), strict=True)
    return torch.from_numpy(np.stack([gaussian(SEED, training_set.ids[row], step, shape) for row, step in pairs]))


@torch.no_grad()
def probe_errors(
    denoiser: UNetDenoiser, training_set: TrainingSet, rows: list[int], steps: Tensor, batch_size: int = BATCH_SIZE
) -> tuple[Tensor, Tensor]:
    """Mean squares over pixels of what the network's own prediction is wrong by, and of its target; float64 [n].

    Each image at its diffusion step, with one noise and told the first of its prompts, or no group, in evaluation mode,
    in float32 and on the network's device. Raises FloatingPointError when an error is not finite.
    """
    denoiser.eval()
    x, noise = to_network_range(training_set.images[rows]), drawn_noise(training_set, rows, steps)
    drawn = [tensor for tensor in (x, noise, steps, training_set.told(rows)) if tensor is not None]

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
    """Loss on some of the training images and on some of those kept aside, as shares of that of predicting nothing.

    FOLLOWED of each, or as many as there are, each at one diffusion step with one noise. Draws nothing at random. None
    are aside: None.
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
    """What the record of a model, made for `spec`, says of its health (`guda.models.health`); stderr too, if poor.

    `forgotten` bool [N] is what the model was made without. With `base`, the model that it was made from, their ratio
    is taken here. Images are worked off BATCH_SIZE at a time, or fewer where `micro_batch_size` (0: none) is smaller.
    Raises FloatingPointError when a loss is not finite.
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
    """The same of a classifier of groups: its loss is the cross-entropy, over that of guessing."""
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
