"""Combined scores of several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from guda.core.errors import ArtifactError
from guda.core.paths import Paths
from guda.core.spec import digest
from guda.evaluation.scores import Scores, read_scores
from guda.methods.ensemble.plan import EnsembleOf, EnsembleSpec

if TYPE_CHECKING:
    from jaxtyping import Float

ROUNDING = 1e-12  # spreads below this share of the scores' magnitude count as zero


def scores(method: EnsembleOf, spec: EnsembleSpec, paths: Paths) -> Scores:
    """The members' scores combined, in the order of the first member's queries and groups."""
    found = [read_scores(paths.scores(member.method), digest(member.spec)) for member in spec.members]
    first = found[0]
    aligned = []
    for member, each in zip(spec.members, found, strict=True):
        for kind in ("queries", "groups"):
            if set(getattr(each, kind)) != set(getattr(first, kind)):
                raise ArtifactError(
                    f"{paths.scores(member.method)}: its {kind} differ from those of "
                    f"{paths.scores(spec.members[0].method)}. Delete both and run snakemake again."
                )
        rows, columns = _places(first.queries, each.queries), _places(first.groups, each.groups)
        aligned.append(each.score[np.ix_(rows, columns)])
    return Scores(first.queries, first.groups, combined(aligned, [member.weight for member in spec.members]))


def _places(names: list[str], among: list[str]) -> list[int]:
    place = {name: index for index, name in enumerate(among)}
    return [place[name] for name in names]


def combined(scores: Sequence[Float[np.ndarray, "n g"]], weights: Sequence[float]) -> Float[np.ndarray, "n g"]:
    """The weighted mean of several methods' standardized contrasts, rescaled to the first method's spread.

    A contrast c is a score minus the image's mean over groups; a method's spread s is the root mean square of all its
    contrasts:

        mean_1 + s_1 sum_m w_m c_m / s_m / sum_m w_m

    Methods for which all groups tie have no spread and are excluded from both sums.
    """
    means = [each.mean(1, keepdims=True) for each in scores]
    contrasts = [each - mean for each, mean in zip(scores, means, strict=True)]
    spreads = [float(np.sqrt((contrast**2).mean())) for contrast in contrasts]
    parts = [
        (weight, contrast / spread)
        for weight, contrast, spread, each in zip(weights, contrasts, spreads, scores, strict=True)
        if spread > ROUNDING * np.abs(each).max()
    ]
    if not parts:
        return scores[0]
    total = sum(weight * part for weight, part in parts)
    return means[0] + spreads[0] * total / sum(weight for weight, _ in parts)
