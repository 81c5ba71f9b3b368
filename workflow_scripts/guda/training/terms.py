"""Losses of several terms, weighted at each step by a function of the inner products of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Weigh = Callable[[Tensor], Tensor]  # inner products of K gradients, float64 [K, K] -> weights [K] of their terms


class WeighedTerms:
    """The gradients of a batch's K terms, accumulated over micro-batches and combined into one by `combine`."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], weigh: Weigh):
        self.parameters, self.weigh = parameters, weigh
        self.clear()

    def clear(self) -> None:
        self.values: list[Tensor] = []
        self.gradients: list[tuple[Tensor, ...]] = []

    def add(self, values: Sequence[Tensor], share: float) -> None:
        """Differentiate the terms (scalars) of a micro-batch, weighted by its share of the batch's rows."""
        parts = [share * value for value in values]
        # Terms may share one prediction, whose graph is retained until the last of them.
        found = [
            torch.autograd.grad(part, self.parameters, retain_graph=part is not parts[-1], materialize_grads=True)
            for part in parts
        ]
        values = [part.detach() for part in parts]
        if self.gradients:
            found = [tuple(map(torch.add, *pair)) for pair in zip(self.gradients, found, strict=True)]
            values = list(map(torch.add, self.values, values))
        self.values, self.gradients = values, found

    def combine(self) -> Tensor:
        """Set the parameters' gradients to the weighted sum, and return the weighted sum of the terms, a scalar."""
        weights = self.weigh(torch.stack([torch.stack([inner(a, b) for b in self.gradients]) for a in self.gradients]))
        for parameter, *gradients in zip(self.parameters, *self.gradients, strict=True):
            weighed = [weight * gradient for weight, gradient in zip(weights, gradients, strict=True)]
            parameter.grad = torch.stack(weighed).sum(0).to(parameter.dtype)
        value = (weights * torch.stack(self.values)).sum()
        self.clear()
        return value


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The inner product of two gradients, float64."""
    return torch.stack([(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]).sum()
