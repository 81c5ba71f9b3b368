"""The training loop shared by the base model, the oracle's models and unlearning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from guda import config
from guda.core.device import Batches, training_precision
from guda.core.errors import ConfigError
from guda.core.progress import track
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import derive_seed
from guda.data.captions import Captions
from guda.data.labels import DrawnLabels
from guda.data.pixels import to_network_range
from guda.models.denoisers import TextDenoiser, UNetDenoiser, new_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.training.curve import LearningCurve
from guda.training.state import Execution, restore, state_tensors
from guda.training.terms import Weigh, WeighedTerms

if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel

ADAM_BETA1 = 0.9
CHECKED_TOGETHER = 8  # steps whose losses are checked at once, since reading them waits for the device
Loss = Callable[..., Tensor | tuple[Tensor, ...]]


def learning_rate(step: int, settings: config.Optimization) -> float:
    """Learning rate of a step (from 0): linear warm-up, then constant or a half cosine that ends at zero."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.decay == "constant":
        return settings.learning_rate
    done = (step - settings.warmup_steps) / (settings.steps - settings.warmup_steps)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def batch_rows(step: int, n: int, batch_size: int, *seed: str | int) -> Tensor:
    """Rows of a step's batch, int64 [batch_size]: 0..n-1 are visited in shuffled epochs, none dropped.

    Depends only on the arguments, so a resumed run continues exactly where it stopped.
    """
    position = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = position // n
    rows = torch.empty_like(position)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        rows[here] = _epoch_order(n, epoch, seed)[position[here] % n]
    return rows


@lru_cache(maxsize=4)  # a batch spans at most two epochs of the forget set and two of the retain set
def _epoch_order(n: int, epoch: int, seed: tuple[str | int, ...]) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed("epoch", *seed, epoch)))


def optimize(
    network: torch.nn.Module,
    draw: Callable[[int], Sequence[Tensor]],
    loss: Loss,
    settings: config.Optimization,
    seed: int,
    execution: Execution,
    ema_decay: float = 0.0,
    weigh: Weigh | None = None,
) -> None:
    """Minimize `loss(*draw(step))` over the network's weights, in place; with `ema_decay`, keep the EMA weights.

    `draw` returns a step's batch, tensors of B rows each; `loss` is a mean over rows, which allows gradient
    accumulation over micro-batches. With `weigh`, it is a tuple of K such means, and their sum with the weights that
    `weigh` assigns at each step is minimized (`WeighedTerms`). Before each step torch's generators are seeded from
    (seed, step), so everything drawn in `draw` and `loss`, dropout included, depends on nothing else. A run resumed
    from a saved state reaches bitwise the same weights on the same CPU as an uninterrupted one, and the same learning
    curve. SIGINT and SIGTERM take effect after the current step, once the state is saved, as KeyboardInterrupt. Raises
    FloatingPointError if the loss or a weight is not finite; saved states are always finite.
    """
    from diffusers.training_utils import EMAModel

    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(ADAM_BETA1, settings.adam_beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    average = EMAModel(parameters, decay=ema_decay, foreach=True) if ema_decay else None
    averaged = average.shadow_params if average else None
    state, progress = execution.state, execution.progress
    done, tensors = state.load() if state else (0, {})
    curve = execution.curve or LearningCurve()
    curve.begin(settings.steps, parameters[0].device, tensors)
    if done:
        restore(tensors, done, parameters, optimizer, averaged)
        if average:
            average.optimization_step = done
    network.train()
    steps = range(done, settings.steps)
    device, parts = parameters[0].device, Batches(execution.micro_batch_size or settings.batch_size)
    terms = WeighedTerms(parameters, weigh) if weigh else None
    losses: list[Tensor] = []  # of the last steps, not yet checked

    def at_work(index: int) -> str:
        step = steps[index]
        return f"loss {curve.recent(step):.4g}, learning rate {learning_rate(step, settings):.3g}"

    with torch.random.fork_rng(), state.signals_wait() if state else nullcontext():
        for step in steps if progress is None else track(steps, progress, settings.steps, done, at_work):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            while (value := differentiate(draw, loss, step, seed, device, parts, terms)) is None:
                optimizer.zero_grad()
            losses.append(value)
            curve.add(step, value)
            torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm, foreach=True)
            optimizer.step()
            optimizer.zero_grad()
            if average:
                average.step(parameters)
            saved = state if state and state.due(step + 1) else None
            if saved or curve.due(step) or len(losses) == CHECKED_TOGETHER or step + 1 == settings.steps:
                check_losses(losses, step)
                losses.clear()
            if curve.due(step):
                check(curve, step, network, average)
            if saved:
                check_weights(network, step)
                saved.save(step + 1, state_tensors(parameters, optimizer, averaged) | curve.state())
                saved.end_if_asked(step + 1, settings.steps)
    if average:
        average.copy_to(parameters)
    check_weights(network, settings.steps - 1)
    network.eval()


def check(curve: LearningCurve, step: int, network: torch.nn.Module, average: EMAModel | None) -> None:
    """Measure the network after a step for its learning curve, with its EMA weights if there are any."""
    check_weights(network, step)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if average:
        average.store(parameters)
        average.copy_to(parameters)
    curve.check(step, network)
    if average:
        average.restore(parameters)
    network.train()


def check_losses(losses: list[Tensor], step: int) -> None:
    """Raise FloatingPointError if one of the last losses, scalars up to that of `step`, is not finite."""
    for index, value in enumerate(torch.stack(losses).tolist(), start=step + 1 - len(losses)):
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {index}; lower the learning rate")


def check_weights(network: torch.nn.Module, step: int) -> None:
    """Raise FloatingPointError if the weights are not finite after a step; no later loss may reveal it.

    A step's loss is computed before the weights are updated, and no loss follows the last update.
    """
    finite = {name: torch.isfinite(tensor).all() for name, tensor in network.state_dict().items()}
    if not torch.stack([*finite.values()]).all():
        name = next(name for name, each in finite.items() if not each)
        raise FloatingPointError(f"the weights {name} are not finite after step {step}; lower the learning rate")


def differentiate(
    draw: Callable[[int], Sequence[Tensor]],
    loss: Loss,
    step: int,
    seed: int,
    device: torch.device,
    parts: Batches,
    terms: WeighedTerms | None = None,
) -> Tensor | None:
    """Add the gradient of a step's mean loss, accumulated over micro-batches of `parts.size` rows, to the weights' own.

    Returns the loss, a scalar; None if the GPU runs out of memory: `parts` is then halved, and the accumulated gradient
    must be discarded. Micro-batches of any size split the same batch, so only dropout depends on their size. With
    `terms` the loss is a tuple, and the gradient is that of the weighted sum of its terms.
    """
    torch.manual_seed(derive_seed("step", seed, step))
    batch = draw(step)
    total = torch.zeros((), device=device)
    if terms:
        terms.clear()
    try:
        for part in zip(*(rows.split(parts.size) for rows in batch), strict=True):
            with training_precision(device):
                value = loss(*(rows.to(device) for rows in part))
            share, values = len(part[0]) / len(batch[0]), value if isinstance(value, tuple) else (value,)
            if terms:
                terms.add(values, share)
            else:
                mean = values[0] * share
                mean.backward()
                total += mean.detach()
    except torch.OutOfMemoryError as error:
        parts.halve(min(parts.size, len(batch[0])), error)
        return None
    return terms.combine() if terms else total


def train(
    images: Tensor,
    unet: config.UNet,
    schedule: NoiseSchedule,
    settings: config.Training,
    execution: Execution = Execution(),
    rows: Tensor | None = None,
    labels: DrawnLabels | None = None,
) -> tuple[UNetDenoiser, int]:
    """Train a denoiser from scratch on uint8 images [N, C, H, W]: on the `rows`, int64 [n], or on all.

    With `labels` it is conditioned on an image's group. Returns it with its EMA weights, and the evaluations spent
    (FORWARD_AND_BACKWARD per sample).
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("weights", settings.seed))
        denoiser = new_denoiser(unet, schedule, images.shape[1:], labels.count if labels else None)
    return denoiser, _fit(denoiser, images, settings, execution, rows, labels)


def tune(
    full: UNetDenoiser,
    images: Tensor,
    rows: Tensor,
    settings: config.Training,
    execution: Execution = Execution(),
) -> tuple[UNetDenoiser, int]:
    """A copy of a denoiser fine-tuned on the `rows`, int64 [n], of uint8 images [N, C, H, W].

    Returns it and the evaluations spent.
    """
    denoiser = copy.deepcopy(full)
    return denoiser, _fit(denoiser, images, settings, execution, rows, None)


def fine_tune(
    denoiser: TextDenoiser,
    latents: Tensor,
    captions: Captions,
    settings: config.Training,
    execution: Execution = Execution(),
    rows: Tensor | None = None,
) -> tuple[TextDenoiser, int]:
    """Fine-tune a text-to-image denoiser in place on latents float32 [N, C, H, W] with their captions.

    `rows` int64 [n] are the images to train on; None: all. Weights that do not require gradients stay fixed. Returns it
    with its EMA weights, and the evaluations spent. Raises ConfigError if images are to be flipped, since flipped
    latents are not the latents of the flipped image.
    """
    if settings.flip:
        raise ConfigError("training.flip: latents cannot be flipped; set it to false for text-to-image models")
    return denoiser, _fit(denoiser, latents, settings, execution, rows, captions)


def _fit(
    denoiser: UNetDenoiser,
    images: Tensor,
    settings: config.Training,
    execution: Execution,
    rows: Tensor | None,
    conditions: DrawnLabels | Captions | None,
) -> int:
    """Train a denoiser in place and return the evaluations spent (FORWARD_AND_BACKWARD per sample)."""
    rows = torch.arange(len(images)) if rows is None else rows
    denoiser.to(execution.device)

    def draw(step: int) -> list[Tensor]:
        chosen = rows[batch_rows(step, len(rows), settings.batch_size, "train", settings.seed)]
        batch = to_network_range(images[chosen])
        if settings.flip:
            batch = mirrored_at_random(batch)
        drawn = [batch, torch.randn_like(batch), random_steps(len(batch), denoiser.schedule)]
        return [*drawn, conditions.draw(chosen, step)] if conditions else drawn

    optimize(denoiser, draw, denoiser.training_loss, settings, settings.seed, execution, settings.ema_decay)
    return settings.steps * settings.batch_size * FORWARD_AND_BACKWARD


def mirrored_at_random(images: Tensor) -> Tensor:
    """Images [B, C, H, W], each flipped left to right with probability 1/2."""
    mirrored = torch.rand(len(images)) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def random_steps(n: int, schedule: NoiseSchedule, window: tuple[int, int | None] = (0, None)) -> Tensor:
    """n diffusion steps, each uniform over the window first..last, int64 [n], in random order; last None: T-1.

    Stratified: one step falls into each n-th of the window, which reduces the variance of a batch's mean loss.
    """
    first, last = window
    last = len(schedule.alphas_cumprod) - 1 if last is None else last
    strata = (torch.randperm(n) + torch.rand(n)) / n
    return first + (strata * (last - first + 1)).long().clamp_max(last - first)
