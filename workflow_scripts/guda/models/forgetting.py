"""Whether unlearned models have forgotten their groups: what they lose on each group's own images.

The images of the calibration sample have scores as queries do. By the model that has unlearned a group, its own
training images should score higher than retained ones: what nobody else has of them is lost. Where they hardly do, the
group was hardly unlearned, or retained images suffer as much, so that the group's scores order images by damage. It
needs no oracle. Torch-free: the workflow plans with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Standard deviations of retained images. Groups of digits whose classes others hold too have 0.5 to 1.4, and rankings
# that agree with an oracle as far as another oracle does; sole sources have 30 to 40.
BARELY = 0.5
FEWEST = 4  # own images and retained ones, below which there is no figure: with so few own ones it is uncertain by 0.5
NAMED = 5  # groups in one sentence


def forgetting(scores: np.ndarray, held: Sequence[np.ndarray]) -> list[float | None]:
    """Of each group: (mean of its own images - mean of retained ones) / standard deviation over retained ones.

    `scores` float64 [M, G] are those of M training images, calibrated or not: what is added to a column, or multiplies
    it, cancels. `held` says of each group which of the images are its own, bool [M]. None where there are fewer than
    FEWEST of these or of the others, or where the others do not vary.
    """
    return [_standardised(column[own], column[~own]) for column, own in zip(scores.T, held, strict=True)]


def _standardised(own: np.ndarray, retained: np.ndarray) -> float | None:
    if min(len(own), len(retained)) < FEWEST or np.ptp(retained) == 0:
        return None
    return float(f"{(own.mean() - retained.mean()) / retained.std(ddof=1):.6g}")


def summary(found: dict[str, float | None]) -> dict[str, float]:
    """Median and least of the groups' figures, by the columns of tables; nothing where none is known."""
    known = [figure for figure in found.values() if figure is not None]
    return {"forgetting_median": float(np.median(known)), "forgetting_worst": min(known)} if known else {}


def describe(title: str, found: dict[str, float | None]) -> list[str]:
    """What the user should know of groups under a title: nothing, or one sentence that names the least forgotten."""
    barely = {group: figure for group, figure in found.items() if figure is not None and figure < BARELY}
    if not barely:
        return []
    least = sorted(barely, key=lambda group: barely[group])[:NAMED]
    named = ", ".join(f"{group} ({barely[group]:.2g})" for group in least)
    more = f" and {len(barely) - NAMED} more" if len(barely) > NAMED else ""
    return [
        f"{title}: {len(barely)} of {len(found)} groups barely forgotten: {named}{more}. By their unlearned models "
        "their own training images lose hardly more than retained ones do, so scores of these groups are not to be "
        "trusted, unless other groups hold nearly the same images. Try other settings of unlearning."
    ]


def unknown(title: str, found: dict[str, float | None]) -> list[str]:
    """Of which groups there is no figure, in one sentence, or nothing."""
    names = [group for group, figure in found.items() if figure is None]
    if not names:
        return []
    named = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return [
        f"{title}: whether {named} were forgotten is not known, since fewer than {FEWEST} of their images, or of the "
        "others, are in the calibration sample; raise attribution.calibration.count to know"
    ]
