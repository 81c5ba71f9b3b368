"""Random subsets of the groups, on each of which a model is trained, and how much those of a size count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from guda import config
from guda.core.seeding import chosen, uniform

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def kept_by_subset(groups: list[str], settings: config.Lds, rest: bool = False) -> list[list[str]]:
    """The groups that each subset keeps: `size_of_draw` of them, by a hash of (seed, number of the draw, group).

    Draws that were drawn before are passed over, so that no two models are trained on the same images; more subsets
    leave the first ones as they are. Where sizes are drawn and there is a `rest`, images in no group, the first subset
    is that of no group. There must be so many ways to choose (`ways`).
    """
    found: dict[tuple[int, ...], None] = {(): None} if rest and settings.sizes != "fixed" else {}
    draws = itertools.count()
    while len(found) < settings.subsets:
        draw = next(draws)
        count = size_of_draw(len(groups), settings, draw)
        found[tuple(chosen(groups, count, "subset", settings.seed, draw))] = None
    return [[groups[row] for row in rows] for rows in found][: settings.subsets]


def kept_matrix(groups: list[str], subsets: Sequence[Collection[str]]) -> Bool[np.ndarray, "m g"]:
    """Which of the groups each of M subsets keeps."""
    return np.array([[group in kept for group in groups] for kept in subsets])


def n_kept(n_groups: int, settings: config.Lds) -> int:
    """How many of the groups a subset of the design `fixed` keeps."""
    return round(settings.alpha * n_groups)


def ways(n_groups: int, settings: config.Lds, rest: bool = False) -> int:
    """How many subsets a design can draw: never that of all groups, which the base model is trained on."""
    if settings.sizes == "fixed":
        return math.comb(n_groups, n_kept(n_groups, settings))
    return 2**n_groups - 2 + rest


def size_of_draw(n_groups: int, settings: config.Lds, draw: int) -> int:
    """How many groups a draw keeps, by a hash of (seed, number of the draw).

    Always as many, or from 1 to G - 1 with the probability that the subsets of a size have in `size_weights`.
    """
    if settings.sizes == "fixed":
        return n_kept(n_groups, settings)
    bounds = size_weights(settings.sizes, n_groups)[1:-1].cumsum()
    place = uniform("subset size", settings.seed, draw) * bounds[-1]
    return 1 + int(np.searchsorted(bounds, place, side="right"))


def size_weights(value: str, n_groups: int) -> Float[np.ndarray, " s"]:
    """What all subsets of s groups together weigh in a value, s = 0 .. G, as shares of all: [G + 1].

    shapley: in proportion to 1 / (s (G - s)), the Shapley kernel times the number of subsets; 0 for none and for all,
    whose weight in the kernel is infinite. banzhaf: as many as there are, over 2^G.
    """
    sizes = np.arange(n_groups + 1)
    if value == "banzhaf":
        logs = [math.lgamma(size + 1) + math.lgamma(n_groups - size + 1) for size in range(n_groups + 1)]
        return np.exp(math.lgamma(n_groups + 1) - np.array(logs) - n_groups * math.log(2))
    weights = np.zeros(n_groups + 1)
    weights[1:-1] = 1 / (sizes * (n_groups - sizes))[1:-1]
    return weights / weights.sum()
