"""Influence of training images on a query: what unlearning the query does to their losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.progress import track
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.methods.query_unlearning import abu, mucs
from guda.methods.query_unlearning.plan import AbuInfluence, Influence, MucsInfluence
from guda.models.denoisers import UNetDenoiser
from guda.scoring.losses import draw_noise, evenly_spaced, losses

SMALL = 1.0e-3  # keeps the relative increase of small losses from being noise


def mean_increase(after: Tensor, before: Tensor) -> Tensor:
    """Mean of l' - l over the steps, [n], from losses [n, S] (AbU)."""
    return (after - before).mean(1)


def relative_increase(after: Tensor, before: Tensor) -> Tensor:
    """Mean of (l' - l) / (l' + l + SMALL) over the steps, [n], from losses [n, S] (MUCS)."""
    return ((after - before) / (after + before + SMALL)).mean(1)


def abu_influence(
    full: UNetDenoiser,
    queries: TrainingSet,
    training_set: TrainingSet,
    fisher: dict[str, Tensor],
    mirror: bool,
    settings: AbuInfluence,
    batch_size: int,
) -> tuple[Tensor, int]:
    """Influence of the sampled training images on every query by AbU, float32 [q, M], and the evaluations spent.

    With `mirror` an image's influence is the larger of its own and its mirror image's. Images with captions are told
    the first of them.
    """
    curvature = {name: values.to(full.device) for name, values in abu.damped(fisher, settings).items()}
    batches, n_train = Batches(batch_size), len(training_set.ids)
    unlearned = (
        abu.unlearn_image(full, x, query, curvature, n_train, settings, batches, queries.told([row]))
        for row, (x, query) in enumerate(zip(to_network_range(queries.images), queries.ids, strict=True))
    )
    return _influence(full, unlearned, len(queries.ids), training_set, mirror, mean_increase, settings, batches)


def mucs_influence(
    full: UNetDenoiser,
    queries: TrainingSet,
    training_set: TrainingSet,
    settings: MucsInfluence,
    batch_size: int,
) -> tuple[Tensor, int]:
    """Influence of the sampled training images on every query by MUCS, float32 [q, M], and the evaluations spent."""
    unlearned = (
        mucs.unlearn_image(full, x, query, training_set.images, settings, queries.told([row]), training_set.captions)
        for row, (x, query) in enumerate(zip(to_network_range(queries.images), queries.ids, strict=True))
    )
    batches = Batches(batch_size)
    return _influence(full, unlearned, len(queries.ids), training_set, False, relative_increase, settings, batches)


def _influence(
    full: UNetDenoiser,
    unlearned: Iterable[tuple[UNetDenoiser, int]],
    n_queries: int,
    training_set: TrainingSet,
    mirror: bool,
    score: Callable[[Tensor, Tensor], Tensor],
    settings: Influence,
    batches: Batches,
) -> tuple[Tensor, int]:
    """Scores float32 [q, M] of models that unlearned a query each, against the full one, on the same draws."""
    rows = settings.sampled_rows(training_set.ids)
    images, ids = to_network_range(training_set.images[rows]), [training_set.ids[row] for row in rows]
    views, told = [images, images.flip(3)] if mirror else [images], training_set.told(rows)
    steps = evenly_spaced(settings.loss_steps, len(full.schedule.alphas_cumprod))
    noise = draw_noise(ids, steps, tuple(images.shape[1:]), settings.seed)

    def losses_of(model: UNetDenoiser) -> list[Tensor]:
        return [losses(model, view, noise, steps, batches, told) for view in views]

    before, scores, evaluations = losses_of(full), [], 0
    for model, spent in track(unlearned, "queries", n_queries):
        increases = [score(after, base) for after, base in zip(losses_of(model), before, strict=True)]
        scores.append(torch.stack(increases).amax(0).float())
        if not scores[-1].isfinite().all():
            raise FloatingPointError("losses are not finite after unlearning a query; make smaller steps")
        evaluations += spent
    return torch.stack(scores), evaluations + (n_queries + 1) * len(views) * len(ids) * len(steps)
