"""AbU (arXiv 2406.09408): unlearning of one image by gradient ascent preconditioned by the Fisher information."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.records import FORWARD_AND_BACKWARD
from guda.data.training_set import Query
from guda.methods.parameters import matching
from guda.methods.query_unlearning.plan import PARAMETERS, AbuInfluence
from guda.models.denoisers import UNetDenoiser
from guda.scoring.losses import draw_noise, evenly_spaced, loss_gradient


def unlearn_image(
    full: UNetDenoiser,
    query: Query,
    curvature: dict[str, Tensor],
    n_train: int,
    settings: AbuInfluence,
    batches: Batches,
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the query's image x unlearned, and the evaluations spent.

    theta' = theta + eta grad L(x) / (N F), `settings.steps` times, for the weights with a `curvature` F. L is the
    image's loss, averaged over evenly spaced diffusion steps, with the noise of (seed, image, step). If F were the
    Hessian of the mean loss of N training images including x, and eta 1, this would be the influence-function estimate
    of the model trained without x.
    """
    model = copy.deepcopy(full)
    moved = [(name, weight) for name, weight in model.unet.named_parameters() if name in curvature]
    steps = evenly_spaced(settings.query_steps, len(full.schedule.alphas_cumprod))
    noise = draw_noise([query.id], steps, tuple(query.x.shape), settings.seed)[0]
    for _ in range(settings.steps):
        weights = [weight for _, weight in moved]
        gradient = loss_gradient(model.conditioned_on(query.condition), query.x, noise, steps, weights, batches)
        with torch.no_grad():
            for (name, weight), slope in zip(moved, gradient, strict=True):
                weight += settings.step_size / n_train * slope / curvature[name]
    return model, settings.steps * settings.query_steps * FORWARD_AND_BACKWARD


def damped(fisher: dict[str, Tensor], settings: AbuInfluence) -> dict[str, Tensor]:
    """The Fisher information of the updated weights plus `damping` times its mean over them."""
    chosen = {name: fisher[name] for name in matching(list(fisher), settings.parameters, PARAMETERS)}
    total = sum((values.double().sum() for values in chosen.values()), torch.zeros((), dtype=torch.float64))
    mean = total / sum(v.numel() for v in chosen.values())
    return {name: values + settings.damping * mean.float() for name, values in chosen.items()}
