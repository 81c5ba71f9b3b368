"""MUCS: unlearning of one image by bounded ascent on its loss, mirrored by descent on that of the training images."""

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
from guda.training.loop import optimise, random_steps
from guda.training.state import Execution

NULL_LOSS = 1.0  # of predicting nothing: the mean square of standard normal noise


def bounded_loss(retained: Tensor, forgotten: Tensor, forget_weight: float) -> Tensor:
    """mean l(retained) - lambda mean min(l(forgotten), l_null), from losses [B]: what reached l_null is left alone."""
    return retained.mean() - forget_weight * forgotten.clamp_max(NULL_LOSS).mean()


def unlearn_image(
    full: UNetDenoiser, query: Query, training_set: TrainingSet, settings: MucsInfluence
) -> tuple[UNetDenoiser, int]:
    """A copy of the full model that has unlearned the query's image, and the evaluations spent.

    Batches and noise belong to (seed, image, step of the optimiser). A text-to-image network is told the prompt of the
    query, and the first of the captions of each training image.
    """
    images, captions = training_set.images, training_set.captions
    model, batch_size = copy.deepcopy(full), settings.batch_size

    def draw(step: int) -> list[Tensor]:
        rows = torch.randint(len(images), (batch_size,))
        retained = to_network_range(images[rows])
        prompts: list[list[Tensor]] = [[], []]
        if captions is not None and query.told is not None:
            prompts = [[captions.first(rows)], [query.told.expand(batch_size, -1, -1)]]
        pairs: list[Tensor] = []
        for clean, told in zip((retained, query.x.expand_as(retained)), prompts, strict=True):
            pairs += [clean, torch.randn_like(clean), random_steps(batch_size, full.schedule), *told]
        return pairs

    def loss(*pairs: Tensor) -> Tensor:
        half = len(pairs) // 2
        retained, forgotten = errors(*pairs[:half]), errors(*pairs[half:])
        return bounded_loss(retained, forgotten, settings.forget_weight)

    def errors(x: Tensor, noise: Tensor, t: Tensor, prompts: Tensor | None = None) -> Tensor:
        return squared_errors(model.told(prompts), x, noise, t)

    seed = derive_seed("mucs", settings.seed, query.id)
    optimise(model, draw, loss, settings, seed, Execution(progress=None))
    return model, settings.steps * 2 * batch_size * FORWARD_AND_BACKWARD
