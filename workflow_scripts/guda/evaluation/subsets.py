"""Random subsets of the groups, on each of which a model is trained, and the weights of subset sizes."""

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
    """The groups that each subset keeps: `size_of_draw` of them, by a hash of (seed, draw number, group).

    Repeated draws are skipped, so that no two models are trained on the same images; increasing the number of subsets
    leaves the first ones unchanged. If sizes are drawn and there is a `rest` (images in no group), the first subset is
    the empty one. The number of subsets must not exceed `ways`.
    """
    found: dict[tuple[int, ...], None] = {(): None} if rest and settings.sizes != "fixed" else {}
    draws = itertools.count()
    while len(found) < settings.subsets:
        draw = next(draws)
        count = size_of_draw(len(groups), settings, draw)
        found[tuple(chosen(groups, count, "subset", settings.seed, draw))] = None
    return [[groups[row] for row in rows] for rows in found][: settings.subsets]


def kept_matrix(groups: list[str], subsets: Sequence[Collection[str]]) -> Bool[np.ndarray, "m g"]:
    """Mask of the groups that each of M subsets keeps."""
    return np.array([[group in kept for group in groups] for kept in subsets])


def n_kept(n_groups: int, settings: config.Lds) -> int:
    """Number of groups that a subset of the design `fixed` keeps."""
    return round(settings.alpha * n_groups)


def ways(n_groups: int, settings: config.Lds, rest: bool = False) -> int:
    """Number of subsets that a design can draw, excluding that of all groups, which is the base model's."""
    if settings.sizes == "fixed":
        return math.comb(n_groups, n_kept(n_groups, settings))
    return 2**n_groups - 2 + rest


def size_of_draw(n_groups: int, settings: config.Lds, draw: int) -> int:
    """Number of groups that a draw keeps, by a hash of (seed, draw number).

    Constant for the design `fixed`, else from 1 to G - 1 with the probabilities of the sizes in `size_weights`.
    """
    if settings.sizes == "fixed":
        return n_kept(n_groups, settings)
    bounds = size_weights(settings.sizes, n_groups)[1:-1].cumsum()
    place = uniform("subset size", settings.seed, draw) * bounds[-1]
    return 1 + int(np.searchsorted(bounds, place, side="right"))


def size_weights(value: str, n_groups: int) -> Float[np.ndarray, " s"]:
    """Total weight of all subsets of s groups in a value, s = 0 .. G, as shares of the total: [G + 1].

    shapley: proportional to 1 / (s (G - s)), the Shapley kernel times the number of subsets; 0 for the empty and the
    full subset, whose kernel weight is infinite. banzhaf: the number of subsets over 2^G.
    """
    sizes = np.arange(n_groups + 1)
    if value == "banzhaf":
        logs = [math.lgamma(size + 1) + math.lgamma(n_groups - size + 1) for size in range(n_groups + 1)]
        return np.exp(math.lgamma(n_groups + 1) - np.array(logs) - n_groups * math.log(2))
    weights = np.zeros(n_groups + 1)
    weights[1:-1] = 1 / (sizes * (n_groups - sizes))[1:-1]
    return weights / weights.sum()
