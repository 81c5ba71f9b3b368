"""Shapley and Banzhaf values of groups, by least squares over models trained on subsets of the groups.

The players are the groups. The value v(S) of a subset S is a query's ELBO under a model trained on the images that are
in no group left out by S. The loss from leaving out groups is modeled as a sum of their values,

    v(all) - v(S) = b + sum of phi_k over the groups k that S leaves out,

by weighted least squares. Shapley values (Shapley 1953) weight a subset by the Shapley kernel, with b = 0 and, if the
empty subset is included, sum_k phi_k = v(all) - v(none) (Charnes et al. 1988; Lundberg and Lee 2017). Banzhaf values
(Banzhaf 1965) weight all subsets equally, with b free (Hammer and Holzman 1992).

The total weight of all subsets of a size is divided among the sampled subsets of that size, which are equally likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guda.evaluation.subsets import size_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# Minimum weight of the base model in Banzhaf values, as a share of the total: if all subsets have one size, only the
# base model separates b from the sum.
BASE_WEIGHT = 1e-6
SATURATED = 1e-9  # with a leverage this close to 1, a subset fits itself


def group_values(
    value: str, outputs: Float[np.ndarray, "q m"], kept: Bool[np.ndarray, "m g"], full: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "q g"]:
    """Values (shapley or banzhaf) of G groups for Q queries, float64 [Q, G], in the unit of `outputs`.

    `outputs` are v(S) of the M subsets whose groups are marked in `kept`, none of them all groups, and `full` is
    v(all). If the subsets do not identify the values (`tells_apart`), the minimum-norm solution is returned.
    """
    return (full[:, None] - outputs) @ _fit(value, kept)[0].T


def tells_apart(kept: Bool[np.ndarray, "m g"]) -> bool:
    """Whether the subsets identify a value for each group."""
    return bool(np.linalg.matrix_rank(~kept) == kept.shape[1])


def errors(
    value: str, outputs: Float[np.ndarray, "q m"], kept: Bool[np.ndarray, "m g"], full: Float[np.ndarray, " q"]
) -> Float[np.ndarray, "q g m"]:
    """Contribution of each subset's residual to the values, float64 [Q, G, M].

    The root of the sum of squares over subsets is a standard error that is robust to interactions of groups and unequal
    variances of subsets (HC2 of MacKinnon and White 1985): residuals are divided by the root of 1 - leverage. NaN for a
    subset that fits itself, e.g. if there are no more subsets than groups. v(all) and v(none) are treated as known:
    their randomness is the same for all groups of a query.
    """
    solution, hat = _fit(value, kept)
    lost = full[:, None] - outputs
    free = 1 - hat.diagonal()
    scale = np.where(free > SATURATED, free, np.nan) ** -0.5
    scale[~kept.any(axis=1)] = 0
    return ((lost - lost @ hat.T) * scale)[:, None] * solution


def _fit(value: str, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [G, M] and [M, M] that map the losses v(all) - v(S), [M], to the values and to the fitted losses."""
    n_groups, sizes, left_out = kept.shape[1], kept.sum(axis=1), (~kept).astype(np.float64)
    by_size = size_weights(value, n_groups)
    weights = by_size[sizes] / np.bincount(sizes, minlength=n_groups + 1)[sizes]
    if value == "banzhaf":
        # The last row is the base model, with zero loss.
        design = np.column_stack([np.ones(len(kept) + 1), np.vstack([left_out, np.zeros(n_groups)])])
        roots = np.sqrt(np.append(weights, max(by_size[-1], BASE_WEIGHT)))
        solution = (np.linalg.pinv(roots[:, None] * design) * roots)[:, :-1]
        return solution[1:], design[:-1] @ solution
    inverse = np.linalg.pinv(np.sqrt(weights)[:, None] * left_out)
    solution = inverse * np.sqrt(weights)
    if not sizes.all():
        # The constraint adds a multiple of K 1 to the values, K = (Z' W Z)^-1, so that they sum to v(all) - v(none).
        direction = (inverse @ inverse.T).sum(axis=1)
        direction /= direction.sum()
        solution -= np.outer(direction, solution.sum(axis=0))
        solution[:, np.argmin(sizes)] += direction
    return solution, left_out @ solution
