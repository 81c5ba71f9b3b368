"""What unlearned models' scores of retained training images say: a true counterfactual's are near 0 there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guda.methods.resampling import summarise

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Retained:
    """Of each group's model: `damage` [G, S], the mean of its terms there, and how far its scores are off.

    The error of a group's score is `dispersion` [G] times the score's standard error by the noise of scoring, and, the
    same for all images, `damage_se` [G], that of the damage by the choice of the calibration images. `highest` [R] are
    the images' largest scores by groups that do not hold them, of all images that some group does not hold.
    """

    damage: Float[np.ndarray, "g s"]
    dispersion: Float[np.ndarray, " g"]
    damage_se: Float[np.ndarray, " g"]
    highest: Float[np.ndarray, " r"]


def calibrated(
    terms: Float[np.ndarray, "n g s"], calibration: Retained | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score, se, p_top1_scoring and the score's error in all, each [n, G]; the error is NaN without calibration."""
    if calibration is None:
        score, se, p_top1_scoring = summarise(terms)
        return score, se, p_top1_scoring, np.full(score.shape, np.nan)
    score, se, p_top1_scoring = summarise(terms - calibration.damage)
    return score, se, p_top1_scoring, np.hypot(calibration.dispersion * se, calibration.damage_se)


def retained(runs: Float[np.ndarray, "k m g s"], held: Sequence[np.ndarray]) -> Retained:
    """From the weighted terms of M calibration images in K runs, whose mean is what scores are made of.

    `held` says, bool [M], which of the images each group holds, not all. The dispersion counts what unlearning from
    another seed changes, which the noise of scoring does not know: the root mean square of errors over that of standard
    errors (Birge 1932). The errors are those of scoring and of the mean over K seeds. From a single run they are told
    by the scores below the median alone: leaving out a group makes an image worse, if anything, so those above are
    effects as well. NaN where a single image is retained.
    """
    terms = runs.mean(axis=0)
    harm = damage(terms, held)
    score, se, _ = summarise(terms - harm)
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
    # Without any noise there is no error either: the model is the base model.
    ratio = np.divide(errors, noise, out=np.zeros(len(held)), where=noise != 0)
    by_others = np.where(np.stack(held, axis=1), -np.inf, score).max(axis=1)
    return Retained(harm, np.sqrt(ratio), chance, by_others[np.isfinite(by_others)])


def no_first_group(score: Float[np.ndarray, "n g"], highest: Float[np.ndarray, " r"]) -> Float[np.ndarray, "n g"]:
    """p_none [n, G]: p-values of the hypothesis that an image owes nothing to any group, small where one stands out.

    (1 + the number of the R `highest` scores of retained images that are at least the group's) / (R + 1), a conformal
    p-value (Vovk et al. 2005). That of the image's first group is uniform, or larger, where under the hypothesis its
    score and those of retained images are exchangeable. As maxima are compared, the others need no adjustment.
    """
    ordered = np.sort(highest)
    at_least = len(ordered) - np.searchsorted(ordered, score, side="left")
    return (1 + at_least) / (len(ordered) + 1)


def lower_half(values: Float[np.ndarray, " m"]) -> float:
    """Mean squared distance from the median of the values below it: the variance, where they are symmetric."""
    below = values[values < np.median(values)] - np.median(values)
    return float((below**2).mean()) if len(below) else 0.0


def damage(terms: Float[np.ndarray, "m g s"], held: Sequence[np.ndarray]) -> Float[np.ndarray, "g s"]:
    """Mean weighted terms [M, G, S] of each group's unlearned model on retained training images, float64 [G, S].

    `held` says of each group which of the M images are its members, bool [M], not all. A true counterfactual explains
    what was retained as well as the full model does; what an unlearned model loses there is damage by the unlearning,
    differs from group to group, and is subtracted from the group's scores.
    """
    return np.stack([terms[~members, column].mean(0) for column, members in enumerate(held)])
