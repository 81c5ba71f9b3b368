"""Whether unlearned models have forgotten their groups: how much ELBO each group's own images lose.

The images of the calibration sample are scored like queries. Under the model that has unlearned a group, the group's
own training images should score higher than retained ones, by what no other group teaches about them. If they hardly
do, the group was hardly unlearned, or retained images suffer as much, so that the group's scores rank images by damage.
This needs no oracle. Torch-free: the workflow plans with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# In standard deviations over retained images. Groups of digits that share their classes have 0.5 to 1.4, with rankings
# that agree with an oracle as well as another oracle does; sole sources have 30 to 40.
BARELY = 0.5
FEWEST = 4  # own and retained images needed for a figure, whose uncertainty is 0.5 with this few own images
NAMED = 5  # groups named in one sentence


def forgetting(scores: np.ndarray, held: Sequence[np.ndarray]) -> list[float | None]:
    """For each group: (mean over its own images - mean over retained ones) / standard deviation over retained ones.

    `scores` float64 [M, G] are those of M training images, calibrated or not: offsets and factors per column cancel.
    `held` marks each group's own images, bool [M]. None if there are fewer than FEWEST own or other images, or if the
    others' scores do not vary.
    """
    return [_standardized(column[own], column[~own]) for column, own in zip(scores.T, held, strict=True)]


def _standardized(own: np.ndarray, retained: np.ndarray) -> float | None:
    if min(len(own), len(retained)) < FEWEST or np.ptp(retained) == 0:
        return None
    return float(f"{(own.mean() - retained.mean()) / retained.std(ddof=1):.6g}")


def summary(found: dict[str, float | None]) -> dict[str, float]:
    """Median and minimum of the groups' figures, by table column; empty if none is known."""
    known = [figure for figure in found.values() if figure is not None]
    return {"forgetting_median": float(np.median(known)), "forgetting_worst": min(known)} if known else {}


def describe(title: str, found: dict[str, float | None]) -> list[str]:
    """Notes on groups under a title: none, or one sentence that names the least forgotten."""
    barely = {group: figure for group, figure in found.items() if figure is not None and figure < BARELY}
    if not barely:
        return []
    least = sorted(barely, key=lambda group: barely[group])[:NAMED]
    named = ", ".join(f"{group} ({barely[group]:.2g})" for group in least)
    more = f" and {len(barely) - NAMED} more" if len(barely) > NAMED else ""
    return [
        f"{title}: {len(barely)} of {len(found)} groups barely forgotten: {named}{more}. Under their unlearned models, "
        "their own training images lose hardly more than retained ones do, so do not trust these groups' scores unless "
        "other groups hold nearly the same images. Try other unlearning settings."
    ]


def unknown(title: str, found: dict[str, float | None]) -> list[str]:
    """One sentence that names the groups without a figure, if there are any."""
    names = [group for group, figure in found.items() if figure is None]
    if not names:
        return []
    named = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return [
        f"{title}: it is unknown whether {named} were forgotten, since fewer than {FEWEST} of their images, or of the "
        "others, are in the calibration sample; raise attribution.calibration.count"
    ]
