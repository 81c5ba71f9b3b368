"""Influence of training images on a query: the change of their losses when the query is unlearned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from guda.core.device import Batches
from guda.core.progress import track
from guda.data.pixels import to_network_range
from guda.data.training_set import Query, TrainingSet
from guda.methods.query_unlearning import abu, mucs
from guda.methods.query_unlearning.plan import AbuInfluence, Influence, MucsInfluence
from guda.models.denoisers import UNetDenoiser
from guda.scoring.losses import draw_noise, evenly_spaced, losses

SMALL = 1.0e-3  # keeps noise from dominating the relative increase of small losses


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
) -> Iterator[tuple[Tensor, int]]:
    """Influence of the sampled training images by AbU, float32 [M], and the evaluations spent, for each query in turn.

    With `mirror`, an image's influence is the larger of its own and its flipped copy's. Images with captions are
    conditioned on their first one.
    """
    curvature = {name: values.to(full.device) for name, values in abu.damped(fisher, settings).items()}
    batches, n_train = Batches(batch_size), len(training_set.ids)

    def unlearned(query: Query) -> tuple[UNetDenoiser, int]:
        return abu.unlearn_image(full, query, curvature, n_train, settings, batches)

    n_steps = len(full.schedule.alphas_cumprod)
    sampled = SampledLosses(training_set, n_steps, mirror, settings, batches)
    return _influence(full, unlearned, queries, sampled, mean_increase)


def mucs_influence(
    full: UNetDenoiser,
    queries: TrainingSet,
    training_set: TrainingSet,
    settings: MucsInfluence,
    batch_size: int,
) -> Iterator[tuple[Tensor, int]]:
    """Influence by MUCS; see `abu_influence`."""

    def unlearned(query: Query) -> tuple[UNetDenoiser, int]:
        return mucs.unlearn_image(full, query, training_set, settings)

    n_steps = len(full.schedule.alphas_cumprod)
    sampled = SampledLosses(training_set, n_steps, False, settings, Batches(batch_size))
    return _influence(full, unlearned, queries, sampled, relative_increase)


class SampledLosses:
    """Losses of the sampled training images, with the same noise for every model."""

    def __init__(self, training_set: TrainingSet, n_steps: int, mirror: bool, settings: Influence, batches: Batches):
        """Losses at some of the diffusion steps 0 .. n_steps-1; with `mirror`, of flipped images too."""
        rows = settings.sampled_rows(training_set.ids)
        images, self.ids = to_network_range(training_set.images[rows]), [training_set.ids[row] for row in rows]
        self.views = [images, images.flip(3)] if mirror else [images]
        self.condition, self.batches = training_set.conditions(rows), batches
        self.steps = evenly_spaced(settings.loss_steps, n_steps)
        self.noise = draw_noise(self.ids, self.steps, tuple(images.shape[1:]), settings.seed)

    def of(self, model: UNetDenoiser) -> list[Tensor]:
        """Losses [M, S] of the images and, with `mirror`, of the flipped images."""
        conditioned = model.conditioned_on(self.condition)
        return [losses(conditioned, view, self.noise, self.steps, self.batches) for view in self.views]

    @property
    def evaluations(self) -> int:
        """Evaluations that the losses of one model cost."""
        return len(self.views) * len(self.ids) * len(self.steps)


def _influence(
    full: UNetDenoiser,
    unlearned: Callable[[Query], tuple[UNetDenoiser, int]],
    queries: TrainingSet,
    sampled: SampledLosses,
    score: Callable[[Tensor, Tensor], Tensor],
) -> Iterator[tuple[Tensor, int]]:
    """Scores float32 [M] of models that have each unlearned a query, relative to the base model, with the same noise.

    Yields the evaluations spent with each; those of the base model are included in the first.
    """
    before, spent = sampled.of(full), sampled.evaluations
    for row in track(range(len(queries.ids)), "queries", len(queries.ids)):
        model, unlearning = unlearned(queries.query(row))
        increases = [score(after, base) for after, base in zip(sampled.of(model), before, strict=True)]
        scores = torch.stack(increases).amax(0).float()
        if not scores.isfinite().all():
            raise FloatingPointError("losses are not finite after unlearning a query; reduce the step size")
        yield scores, spent + unlearning + sampled.evaluations
        spent = 0
