"""Shapley and Banzhaf values of groups, by least squares over models that were trained on subsets of them.

The players are the groups, and a subset S of them is worth v(S): a query's likelihood bound under a model trained on
the images that no group left out by S holds. What is lost without some groups is explained by the sum of theirs,

    v(all) - v(S) = b + sum of phi_k over the groups k that S leaves out,

by weighted least squares. Shapley values (Shapley 1953) weigh a subset by the Shapley kernel, with b = 0 and, where
there is the subset of no group, sum_k phi_k = v(all) - v(none) (Charnes et al. 1988; Lundberg and Lee 2017). Banzhaf
values (Banzhaf 1965) weigh all subsets alike, with b free (Hammer and Holzman 1992).

The weight of all subsets of a size is shared by those of that size that there are, each as likely to be among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.evaluation.subsets import size_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# The least weight of the base model in Banzhaf values, as a share of all: where all subsets are of one size, it alone
# tells b from the sum.
BASE_WEIGHT = 1e-6
SATURATED = 1e-9  # leverage this close to 1: the subset fits itself


def group_values(
    value: str, outputs: Float[np.ndarray, "q m"], kept: Bool[np.ndarray, "m g"], full: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "q g"]:
    """Values of G groups for Q queries, `value` being shapley or banzhaf: float64 [Q, G], in the unit of `outputs`.

    `outputs` are v(S) of the M subsets that `kept` says the groups of, none of them all groups, and `full` is v(all).
    Groups that the subsets do not tell apart (`tells_apart`) get the values of the smallest sum of squares.
    """
    return (full[:, None] - outputs) @ _fit(value, kept)[0].T


def tells_apart(kept: Bool[np.ndarray, "m g"]) -> bool:
    """Whether the subsets determine a value for each group."""
    return bool(np.linalg.matrix_rank(~kept) == kept.shape[1])


def errors(
    value: str, outputs: Float[np.ndarray, "q m"], kept: Bool[np.ndarray, "m g"], full: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "q g m"]:
    """What each subset's deviation from the sum of values puts into these, float64 [Q, G, M].

    The root of the sum of squares over subsets is the standard error that holds whatever the interactions of groups and
    the variances of subsets (HC2 of MacKinnon and White 1985): a residual is divided by the root of 1 - its leverage.
    NaN for a subset that fits itself, as where there are no more of them than groups. v(all) and v(none) count as
    known: what is in them of chance is the same for all groups of a query.
    """
    solution, hat = _fit(value, kept)
    lost = full[:, None] - outputs
    free = 1 - hat.diagonal()
    scale = np.where(free > SATURATED, free, np.nan) ** -0.5
    scale[~kept.any(axis=1)] = 0
    return ((lost - lost @ hat.T) * scale)[:, None] * solution


def _fit(value: str, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of what is lost, v(all) - v(S), [M]: the values and what they say of the same, as matrices [G, M] and [M, M]."""
    n_groups, sizes, left_out = kept.shape[1], kept.sum(axis=1), (~kept).astype(np.float64)
    by_size = size_weights(value, n_groups)
    weights = by_size[sizes] / np.bincount(sizes, minlength=n_groups + 1)[sizes]
    if value == "banzhaf":
        # The last row is the base model, which has lost nothing.
        design = np.column_stack([np.ones(len(kept) + 1), np.vstack([left_out, np.zeros(n_groups)])])
        roots = np.sqrt(np.append(weights, max(by_size[-1], BASE_WEIGHT)))
        solution = (np.linalg.pinv(roots[:, None] * design) * roots)[:, :-1]
        return solution[1:], design[:-1] @ solution
    inverse = np.linalg.pinv(np.sqrt(weights)[:, None] * left_out)
    solution = inverse * np.sqrt(weights)
    if not sizes.all():
        # A constraint adds a multiple of K 1 to the values, K = (Z' W Z)^-1, so that they sum up to what none has lost.
        direction = (inverse @ inverse.T).sum(axis=1)
        direction /= direction.sum()
        solution -= np.outer(direction, solution.sum(axis=0))
        solution[:, np.argmin(sizes)] += direction
    return solution, left_out @ solution
