"""ELBOs of images under diffusers models, and group scores from counterfactual models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from torch import Tensor

from guda import config
from guda.api.arguments import as_ids, as_images, as_mask
from guda.api.networks import as_denoiser, check_images, evaluating
from guda.config.messages import from_arguments
from guda.core.artifacts import DIVERGED, not_finite
from guda.core.errors import ArgumentError
from guda.evaluation.scores import Scores, scores_frame
from guda.methods.another_run import first_of_another_run
from guda.methods.counterfactual.compute import weighted_differences
from guda.methods.counterfactual.retained import Retained, calibrated, no_first_group, retained
from guda.models.denoisers import UNetDenoiser
from guda.models.forgetting import describe, forgetting
from guda.models.noise_schedule import NoiseSchedule, elbo_steps, step_weights
from guda.scoring.elbo import kl_terms

if TYPE_CHECKING:
    from guda.api.arguments import Images
    from guda.api.networks import Model, Scheduler

BATCH_SIZE = config.Execution().batch_size


def elbo(
    model: Model,
    images: Images,
    *,
    ids: Sequence[str] | None = None,
    scheduler: Scheduler | None = None,
    seed: int = 0,
    steps: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
) -> pd.DataFrame:
    """Terms of every image's evidence lower bound, in nats; they sum to its ELBO up to terms shared by all models.

    `elbo(a, x).sum(axis=1) - elbo(b, x).sum(axis=1)` compares two models (docs/method.md).

    Args:
        model: a diffusers `UNet2DModel`, or a pipeline that contains one, such as `DDPMPipeline`, on the device to run
            on.
        images: uint8 [n, C, H, W] with levels 0 to 255 (torch or numpy), or n PIL images.
        ids: unique names of the images; None: row numbers.
        scheduler: the diffusers scheduler that the model was trained with; None: the pipeline's own.
        seed: seed of the noise.
        steps: keys of the section `elbo.steps` of the configuration, with its defaults: `kind`, `first`, `last`,
            `stride`, `count`; {"kind": "all", "first": 1, "last": 999} uses all steps.
        batch_size: (image, step) pairs per forward pass; affects results only by rounding.

    Returns:
        One row per image, indexed by its id, and one column per diffusion step i, with values -w_i KL_i. KL_i is the KL
            term of the reverse step, with one noise per (seed, id, step) that all models share; w_i is the number of
            steps of the window that it represents.

    Raises:
        GudaError: for an invalid argument.
        FloatingPointError: if the model has diverged.
    """
    denoiser, pixels = as_denoiser(model, scheduler), as_images(images)
    names, bound = as_ids(ids, len(pixels)), _bound(denoiser.schedule, seed, steps, batch_size)
    check_images(denoiser, pixels)
    terms = -bound.kl(denoiser, pixels, names) * bound.weights
    if problem := not_finite(terms, "terms"):
        raise FloatingPointError(f"{problem}. {DIVERGED}")
    return pd.DataFrame(terms, index=pd.Index(names, name="image"), columns=pd.Index(bound.steps, name="step"))


def attribute(
    base: Model,
    counterfactuals: Mapping[str, Model],
    images: Images,
    *,
    ids: Sequence[str] | None = None,
    scheduler: Scheduler | None = None,
    calibration: Images | None = None,
    members: Mapping[str, ArrayLike | Tensor] | None = None,
    calibration_ids: Sequence[str] | None = None,
    seed: int = 0,
    steps: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
) -> pd.DataFrame:
    """Scores of groups of training data for each image: how much worse does a model without the group explain it?

    score = ELBO(x; base) - ELBO(x; without the group), in nats (GUDA, arXiv 2601.22651). With unlearned counterfactual
    models (`guda.unlearn`) this is GUDA; with models retrained without each group it is the oracle.

    Args:
        base: the model trained on all data: a diffusers `UNet2DModel`, or a pipeline that contains one, such as
            `DDPMPipeline`, on the device to run on.
        counterfactuals: one such model without each group, by the group's name.
        images: as for `guda.elbo`.
        ids: as for `guda.elbo`.
        scheduler: as for `guda.elbo`; applies to all models. None: the base's own.
        calibration: training images to calibrate on, like `images`. What an unlearned model loses on images outside its
            group is damage and is subtracted; a warning names groups whose own images lose hardly more than that.
            Without calibration, scores are those of `guda_uncalibrated`.
        members: by group, a mask bool [M] of the calibration images that belong to it.
        calibration_ids: names of the calibration images; None: calibration-0, ...
        seed: as for `guda.elbo`.
        steps: as for `guda.elbo`.
        batch_size: as for `guda.elbo`.

    Returns:
        One row per image and group, like results/scores/METHOD.csv: query (the image's id), group, score, its standard
            error se, p_top1_scoring (the probability that the group is first with other scoring noise), p_top1 (that it
            is first in another run, which also unlearns from another seed) and p_none (small for a group that stands
            out). se, p_top1_scoring and p_top1 are NaN for a single step, p_top1 and p_none without calibration. p_top1
            is estimated from all images jointly, so give at least a hundred.

    Raises:
        GudaError: for an invalid argument.
        FloatingPointError: if a model has diverged.
    """
    if not isinstance(counterfactuals, Mapping) or not counterfactuals:
        raise ArgumentError("counterfactuals: expected a mapping from at least one group to the model without it")
    full = as_denoiser(base, scheduler, "base")
    without = [
        as_denoiser(model, full.schedule, f"counterfactuals[{group!r}]") for group, model in counterfactuals.items()
    ]
    bound, pixels = _bound(full.schedule, seed, steps, batch_size), as_images(images)
    names = as_ids(ids, len(pixels))
    on_retained: Retained | None = None
    for denoiser in (full, *without):
        check_images(denoiser, pixels)
    if calibration is not None and members is not None:
        probes = as_images(calibration, "calibration")
        probe_names = as_ids(calibration_ids, len(probes), "calibration_ids", "calibration-")
        held = _held(members, list(counterfactuals), len(probes))
        check_images(full, probes, "calibration")
        lost = bound.differences(full, without, probes, probe_names)
        on_retained = retained(lost[None], held)
        found = dict(zip(counterfactuals, forgetting(lost.sum(2), held), strict=True))
        for sentence in describe("counterfactuals", found):
            warnings.warn(sentence, stacklevel=2)
    elif calibration is not None or members is not None:
        raise ArgumentError("calibration and members: one is missing; give both, or neither")
    terms = bound.differences(full, without, pixels, names)
    score, se, p_top1_scoring, error = calibrated(terms, on_retained)
    p_top1 = first_of_another_run(score, error)
    p_none = None if on_retained is None else no_first_group(score, on_retained.highest)
    return scores_frame(Scores(names, list(counterfactuals), score, se, p_top1_scoring, p_top1, p_none))


@dataclass(frozen=True)
class _Bound:
    """Settings of the ELBO terms: diffusion steps int64 [S], each representing `weights` [S] steps, and the noise."""

    steps: np.ndarray
    weights: np.ndarray
    seed: int
    batch_size: int

    def kl(self, denoiser: UNetDenoiser, images: Tensor, ids: list[str]) -> np.ndarray:
        """KL_i of every image at every step, float64 [n, S]."""
        with evaluating(denoiser):
            terms = kl_terms(denoiser, images, ids, self.steps, self.seed, self.batch_size)
        return terms.double().numpy()

    def differences(
        self, full: UNetDenoiser, without: list[UNetDenoiser], images: Tensor, ids: list[str]
    ) -> np.ndarray:
        """Weighted differences between the counterfactual models' terms and the base model's, float64 [n, G, S]."""
        counterfactual = (self.kl(denoiser, images, ids) for denoiser in without)
        return weighted_differences(self.kl(full, images, ids), counterfactual, self.weights)


def _bound(schedule: NoiseSchedule, seed: int, steps: Mapping[str, Any] | None, batch_size: int) -> _Bound:
    """Raises ArgumentError for invalid settings, and for diffusion steps beyond the scheduler's last."""
    settings = from_arguments(config.Elbo, {"seed": seed, "steps": steps or {}})
    size = from_arguments(config.Execution, {"batch_size": batch_size}).batch_size
    window, last = settings.steps, len(schedule.alphas_cumprod) - 1
    if window.last > last:
        raise ArgumentError(
            f"steps.last is {window.last}, but the scheduler's last step is {last}; choose an earlier one"
        )
    chosen = elbo_steps(window)
    return _Bound(chosen, step_weights(chosen, window.first, window.last), settings.seed, size)


def _held(members: Mapping[str, ArrayLike | Tensor], groups: list[str], count: int) -> list[np.ndarray]:
    """Masks of each group's calibration images, bool [M], in the order of the groups. Raises ArgumentError."""
    if members.keys() != {*groups}:
        raise ArgumentError(
            f"members: has the groups {list(members)}, but counterfactuals has {groups}; give both the same groups"
        )
    held = [as_mask(members[group], count, f"members[{group!r}]").numpy() for group in groups]
    for group, mask in zip(groups, held, strict=True):
        if mask.all():
            raise ArgumentError(
                f"members[{group!r}]: marks every calibration image, so none is retained; give more of them"
            )
    return held
