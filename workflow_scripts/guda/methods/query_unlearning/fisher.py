"""The diagonal of the Fisher information of a denoiser's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from guda.core.device import Batches
from guda.core.progress import track
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import chosen, gaussian, uniform
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.methods.parameters import matching
from guda.methods.query_unlearning.plan import PARAMETERS, Fisher
from guda.models.denoisers import UNetDenoiser
from guda.scoring.losses import squared_errors

GRADIENTS = 2**24  # gradient entries of the samples per block: 64 MiB


class _Loss(torch.nn.Module):
    """A sample's loss as a module, for `functional_call`."""

    def __init__(self, denoiser: UNetDenoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, *sample: Tensor) -> Tensor:
        """`sample`: an image, its noise, its diffusion step, and its condition for a conditional network."""
        x, noise, t, *condition = (tensor[None] for tensor in sample)
        return squared_errors(self.denoiser.conditioned_on(condition[0] if condition else None), x, noise, t)[0]


def diagonal_fisher(
    denoiser: UNetDenoiser,
    training_set: TrainingSet,
    settings: Fisher,
    batch_size: int,
    patterns: list[str] | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Mean over samples of the squared gradient of the loss, by the network's parameter names, float32 on the
    CPU; and the evaluations spent.

    A sample is an image with one diffusion step and one noise. Each of the chosen images gives `settings.steps`
    samples, at evenly spaced steps from an offset of its own. Up to a factor, this is the empirical Fisher information
    of a Gaussian around the prediction. With `patterns`, only weights whose names match one of these regular
    expressions are included. Images with captions are conditioned on their first one.
    """
    drawn = _samples(training_set, settings, len(denoiser.schedule.alphas_cumprod))
    loss = _Loss(denoiser)
    n, prefix, parameters = len(drawn[0]), "denoiser.unet.", dict(denoiser.unet.named_parameters())
    weights = {prefix + name: parameters[name].detach() for name in matching(list(parameters), patterns, PARAMETERS)}
    gradients = vmap(grad(lambda *sample: functional_call(loss, *sample)), (None, 0))
    total = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}

    @torch.no_grad()  # avoids a graph for weights that are not differentiated
    def squares(rows: Sequence[int]) -> dict[str, Tensor]:
        samples = tuple(tensor[rows[0] : rows[-1] + 1].to(denoiser.device) for tensor in drawn)
        return {name: values.square().sum(0).double() for name, values in gradients(weights, samples).items()}

    size = max(1, min(batch_size, GRADIENTS // sum(weight.numel() for weight in weights.values())))
    batches, starts = Batches(size), range(0, n, size)
    for start in track(starts, "batches of gradients", len(starts)):
        for part in batches.run(squares, range(start, min(start + size, n))):
            for name, values in part.items():
                total[name] += values
    means = {name.removeprefix(prefix): (values / n).float().cpu() for name, values in total.items()}
    return means, n * FORWARD_AND_BACKWARD


def _samples(training_set: TrainingSet, settings: Fisher, n_steps: int) -> list[Tensor]:
    """Images float32 [n, C, H, W] in network range, their noise, their steps int64 [n], and their prompts, if any."""
    rows, t, noise = [], [], []
    shape = tuple(training_set.images.shape[1:])
    for row in chosen(training_set.ids, settings.images, "fisher", settings.seed):
        image_id = training_set.ids[row]
        offset = uniform("fisher", settings.seed, "step", image_id)
        for share in range(settings.steps):
            step = int((share + offset) * n_steps / settings.steps)
            rows.append(row)
            t.append(step)
            noise.append(torch.from_numpy(gaussian(settings.seed, image_id, step, shape)))
    drawn = [to_network_range(training_set.images[rows]), torch.stack(noise), torch.tensor(t)]
    condition = training_set.conditions(rows)
    return drawn if condition is None else [*drawn, condition]
