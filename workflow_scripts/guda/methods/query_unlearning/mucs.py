"""MUCS: unlearning of one image by bounded ascent on its loss, with descent on the training images' loss."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import derive_seed
from guda.data.pixels import to_network_range
from guda.data.training_set import Query, TrainingSet
from guda.methods.query_unlearning.plan import MucsInfluence
from guda.models.denoisers import UNetDenoiser
from guda.scoring.losses import squared_errors
from guda.training.loop import optimize, random_steps
from guda.training.state import Execution

NULL_LOSS = 1.0  # loss of predicting zero: the mean square of standard normal noise


def bounded_loss(retained: Tensor, forgotten: Tensor, forget_weight: float) -> Tensor:
    """mean l(retained) - lambda mean min(l(forgotten), l_null), from losses [B]; above l_null there is no gradient."""
    return retained.mean() - forget_weight * forgotten.clamp_max(NULL_LOSS).mean()


def unlearn_image(
    full: UNetDenoiser, query: Query, training_set: TrainingSet, settings: MucsInfluence
) -> tuple[UNetDenoiser, int]:
    """A copy of the base model with the query's image unlearned, and the evaluations spent.

    Batches and noise are determined by (seed, image, optimizer step). A text-to-image network is conditioned on the
    query's prompt and on the first caption of each training image.
    """
    images, captions = training_set.images, training_set.captions
    model, batch_size = copy.deepcopy(full), settings.batch_size

    def draw(step: int) -> list[Tensor]:
        rows = torch.randint(len(images), (batch_size,))
        retained = to_network_range(images[rows])
        prompts: list[list[Tensor]] = [[], []]
        if captions is not None and query.condition is not None:
            prompts = [[captions.first(rows)], [query.condition.expand(batch_size, -1, -1)]]
        pairs: list[Tensor] = []
        for clean, prompt in zip((retained, query.x.expand_as(retained)), prompts, strict=True):
            pairs += [clean, torch.randn_like(clean), random_steps(batch_size, full.schedule), *prompt]
        return pairs

    def loss(*pairs: Tensor) -> Tensor:
        half = len(pairs) // 2
        retained, forgotten = errors(*pairs[:half]), errors(*pairs[half:])
        return bounded_loss(retained, forgotten, settings.forget_weight)

    def errors(x: Tensor, noise: Tensor, t: Tensor, prompts: Tensor | None = None) -> Tensor:
        return squared_errors(model.conditioned_on(prompts), x, noise, t)

    seed = derive_seed("mucs", settings.seed, query.id)
    optimize(model, draw, loss, settings, seed, Execution(progress=None))
    return model, settings.steps * 2 * batch_size * FORWARD_AND_BACKWARD
