"""Random subsets of the groups, on each of which a model is trained, and how much those of a size count."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from guda import config
from guda.core.seeding import chosen, uniform

if TYPE_CHECKING:
    from jaxtyping import Float


def kept_by_subset(groups: list[str], settings: config.Lds) -> list[list[str]]:
    """The groups that each subset keeps: so many as `size_of_draw` says, by a hash of (seed, number of the draw, group).

    Draws that were drawn before are passed over, so that no two models are trained on the same images; more subsets
    leave the first ones as they are. There must be so many ways to choose (`ways`).
    """
    found: dict[tuple[int, ...], None] = {}
    draws = itertools.count()
    while len(found) < settings.subsets:
        draw = next(draws)
        count = size_of_draw(len(groups), settings, draw)
        found[tuple(chosen(groups, count, "subset", settings.seed, draw))] = None
    return [[groups[row] for row in rows] for rows in found]


def kept_matrix(groups: list[str], settings: config.Lds) -> np.ndarray:
    """Which groups each subset keeps, bool [subsets, G]."""
    return np.array([[group in kept for group in groups] for kept in kept_by_subset(groups, settings)])


def n_kept(n_groups: int, settings: config.Lds) -> int:
    """How many of the groups a subset of the design `fixed` keeps."""
    return round(settings.alpha * n_groups)


def ways(n_groups: int, settings: config.Lds) -> int:
    """How many subsets a design can draw: never that of no group, nor that of all, which the base model has seen."""
    return math.comb(n_groups, n_kept(n_groups, settings)) if settings.sizes == "fixed" else 2**n_groups - 2


def size_of_draw(n_groups: int, settings: config.Lds, draw: int) -> int:
    """How many groups a draw keeps, by a hash of (seed, number of the draw): as in `size_weights`, or always as many."""
    if settings.sizes == "fixed":
        return n_kept(n_groups, settings)
    bounds = size_weights(settings.sizes, n_groups).cumsum()
    place = uniform("subset size", settings.seed, draw) * bounds[-1]
    return 1 + int(np.searchsorted(bounds, place, side="right"))


def size_weights(value: str, n_groups: int) -> Float[np.ndarray, " g-1"]:
    """What all subsets of s groups weigh in a value, of all subsets but the empty and the whole one, s = 1 .. G - 1.

    Shapley values: in proportion to 1 / (s (G - s)) (Lundberg and Lee 2017, theorem 2, times the number of subsets).
    Banzhaf values: to the number of subsets, as each weighs the same (Hammer and Holzman 1992).
    """
    sizes = np.arange(1, n_groups)
    if value == "shapley":
        weights = 1 / (sizes * (n_groups - sizes))
    else:
        logs = np.array([math.lgamma(size + 1) + math.lgamma(n_groups - size + 1) for size in sizes])
        weights = np.exp(logs.min() - logs)
    return weights / weights.sum()
