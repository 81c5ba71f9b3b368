"""Calibration on retained training images, where a true counterfactual model's scores are near 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guda.methods.resampling import summarize

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Retained:
    """For each group's model: `damage` [G, S], its mean terms on retained images, and the errors of its scores.

    The error of a group's score combines `dispersion` [G] times the score's standard error due to scoring noise, and
    `damage_se` [G], shared by all images, the standard error of the damage due to the choice of calibration images.
    `highest` [R] is each image's largest score among groups that do not contain it, for images outside some group.
    """

    damage: Float[np.ndarray, "g s"]
    dispersion: Float[np.ndarray, " g"]
    damage_se: Float[np.ndarray, " g"]
    highest: Float[np.ndarray, " r"]


def calibrated(
    terms: Float[np.ndarray, "n g s"], calibration: Retained | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score, se, p_top1_scoring and the score's total error, each [n, G]; the error is NaN without calibration."""
    if calibration is None:
        score, se, p_top1_scoring = summarize(terms)
        return score, se, p_top1_scoring, np.full(score.shape, np.nan)
    score, se, p_top1_scoring = summarize(terms - calibration.damage)
    return score, se, p_top1_scoring, np.hypot(calibration.dispersion * se, calibration.damage_se)


def retained(runs: Float[np.ndarray, "k m g s"], held: Sequence[np.ndarray]) -> Retained:
    """Calibration from the weighted terms of M calibration images in K runs, over which scores are averaged.

    `held` bool [M] marks each group's images, never all of them. The dispersion accounts for the variation between
    unlearning seeds, which scoring noise does not include: the root mean square error over the root mean square
    standard error (Birge 1932). The errors include scoring noise and the mean over K seeds. For a single run they are
    estimated only from scores below the median: leaving out a group can only make images worse, so scores above it
    include real effects. NaN if only one image is retained.
    """
    terms = runs.mean(axis=0)
    harm = damage(terms, held)
    score, se, _ = summarize(terms - harm)
    by_run = runs.sum(axis=3) - np.stack([damage(each, held) for each in runs]).sum(axis=2)[:, None]
    errors, noise, chance = np.full((3, len(held)), np.nan)
    for group, members in enumerate(held):
        found, count = score[~members, group], (~members).sum()
        noise[group] = (se[~members, group] ** 2).mean()
        if count > 1:
            chance[group] = found.std(ddof=1) / np.sqrt(count)
            of_seeds = by_run[:, ~members, group]
            errors[group] = (
                noise[group] + of_seeds.var(axis=0, ddof=1).mean() / len(runs) if len(runs) > 1 else lower_half(found)
            )
    # Without noise there is no error: the model equals the base model.
    ratio = np.divide(errors, noise, out=np.zeros(len(held)), where=noise != 0)
    by_others = np.where(np.stack(held, axis=1), -np.inf, score).max(axis=1)
    return Retained(harm, np.sqrt(ratio), chance, by_others[np.isfinite(by_others)])


def no_first_group(score: Float[np.ndarray, "n g"], highest: Float[np.ndarray, " r"]) -> Float[np.ndarray, "n g"]:
    """p_none [n, G]: p-values of the hypothesis that no group influenced an image; small if a group stands out.

    (1 + the number of the R `highest` scores of retained images that are at least the group's) / (R + 1), a conformal
    p-value (Vovk et al. 2005). For the image's first group it is uniform or larger if, under the hypothesis, its score
    and those of retained images are exchangeable. Since maxima are compared, no multiplicity adjustment is needed.
    """
    ordered = np.sort(highest)
    at_least = len(ordered) - np.searchsorted(ordered, score, side="left")
    return (1 + at_least) / (len(ordered) + 1)


def lower_half(values: Float[np.ndarray, " m"]) -> float:
    """Mean squared distance from the median of the values below it; for symmetric values, their variance."""
    below = values[values < np.median(values)] - np.median(values)
    return float((below**2).mean()) if len(below) else 0.0


def damage(terms: Float[np.ndarray, "m g s"], held: Sequence[np.ndarray]) -> Float[np.ndarray, "g s"]:
    """Mean weighted terms [M, G, S] of each group's unlearned model on retained training images, float64 [G, S].

    `held` marks each group's members among the M images, bool [M], never all. A true counterfactual model explains
    retained images as well as the full model does. What an unlearned model loses there is damage caused by unlearning;
    it differs between groups and is subtracted from the group's scores.
    """
    return np.stack([terms[~members, column].mean(0) for column, members in enumerate(held)])
