"""Losses of several terms, whose weights at a step follow from how the terms' gradients lie to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Weigh = Callable[[Tensor], Tensor]  # inner products of K gradients, float64 [K, K], to the weights [K] of their terms


class WeighedTerms:
    """The gradients of a batch's K terms, added up over its parts, until `combine` makes one gradient of them."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], weigh: Weigh):
        self.parameters, self.weigh = parameters, weigh
        self.clear()

    def clear(self) -> None:
        self.values: dict[int, Tensor] = {}
        self.gradients: dict[int, tuple[Tensor, ...]] = {}

    def add(self, values: Sequence[Tensor], share: float) -> None:
        """Differentiate the terms of a part of the batch, scalars, which counts by its share of the rows."""
        for k, value in enumerate(share * value for value in values):
            more = k < len(values) - 1  # terms may be of one prediction
            found = torch.autograd.grad(value, self.parameters, retain_graph=more, materialize_grads=True)
            before = self.gradients.get(k)
            self.gradients[k] = found if before is None else tuple(map(torch.add, before, found))
            self.values[k] = self.values.get(k, 0) + value.detach()

    def combine(self) -> Tensor:
        """Leave the weighted sum of the gradients with the parameters, and return that of the terms, a scalar."""
        gradients = list(self.gradients.values())
        weights = self.weigh(torch.stack([torch.stack([inner(a, b) for b in gradients]) for a in gradients]))
        for number, parameter in enumerate(self.parameters):
            terms = [weight * each[number] for weight, each in zip(weights, gradients, strict=True)]
            parameter.grad = torch.stack(terms).sum(0).to(parameter.dtype)
        value = (weights * torch.stack([*self.values.values()])).sum()
        self.clear()
        return value


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The inner product of two gradients, float64."""
    return torch.stack([(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]).sum()
