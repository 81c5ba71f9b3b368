"""An image's scores, summarized in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SURE, LIKELY = 0.9, 0.6  # probabilities of the same first place in another run
STANDS_OUT = 0.05  # p_none below which the first group stands out


def verdict(
    groups: Sequence[str], scores: np.ndarray, p_first: float | None, unit: str, p_none: float | None = None
) -> str:
    """Two or three sentences on the first group by `scores` [G], in `unit` ('': none).

    `p_first` is the probability that the same group is first in another run, `p_none` the p-value under the hypothesis
    that no group influenced the image; None: unknown.
    """
    first = np.flatnonzero(scores == scores.max()).tolist()
    if len(first) > 1:
        return f"{', '.join(groups[index] for index in first[:-1])} and {groups[first[-1]]} tie for first place."
    name, amount = groups[first[0]], f"{scores.max():.3g} {unit}".strip()
    if not unit:
        effect = f"Its score is {amount}."
    elif scores.max() <= 0:
        effect = f"Its score is {amount}: without it, the model would explain this image no worse."
    else:
        effect = f"Without it, the model would explain this image {amount} worse."
    if p_none is not None and p_none >= STANDS_OUT:
        return (
            f"No group stands out: {100 * p_none:.2g} % of training images score as high for a group that does not "
            f"contain them. {name} ranks first. {effect}"
        )
    if p_first is None:
        return f"{name} ranks first. {effect}"
    again = f"In another run it would rank first with probability {p_first:.2f}."
    if p_first >= SURE:
        return f"{name}. {effect} {again}"
    return f"{'Probably' if p_first >= LIKELY else 'Uncertain:'} {name}. {effect} {again}"
