"""Losses of several terms: their gradients are of the whole batch when they are weighed, however it is worked off."""

import pytest
import torch

from guda.core.device import Batches
from guda.training.loop import differentiate
from guda.training.terms import WeighedTerms

ROWS = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 4.0], [2.0, 1.0]])  # of each row: a, b
START = 2.0  # the parameter p


def weighed(size, weigh, memory=4):
    """Gradient and value of the terms mean(a p) and mean(b p^2), where `memory` is the largest part that fits."""
    parameter = torch.nn.Parameter(torch.tensor([START]))
    terms, parts, value = WeighedTerms([parameter], weigh), Batches(size), None

    def loss(rows):
        first = (rows[:, 0] * parameter).mean()
        if len(rows) > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return first, (rows[:, 1] * parameter.square()).mean()

    with torch.random.fork_rng():
        while value is None:
            value = differentiate(lambda step: [ROWS], loss, 0, 0, torch.device("cpu"), parts, terms)
    return parameter.grad.item(), value.item()


@pytest.mark.parametrize(("size", "memory"), [(4, 4), (3, 3), (1, 4), (4, 2), (3, 1)])
def test_terms_are_weighed_by_the_gradients_of_the_whole_batch(size, memory):
    # Means 1.5 and 3: gradients 1.5 and 3 * 2 * 2 = 12, values 3 and 12; weights 1 and -<r, f> / <f, f> = -1/8.
    found = []

    def weigh(inner):
        found.append(inner)
        return torch.stack([torch.ones_like(inner[0, 0]), -inner[0, 1] / inner[1, 1]])

    gradient, value = weighed(size, weigh, memory)
    torch.testing.assert_close(found[-1], torch.tensor([[2.25, 18.0], [18.0, 144.0]], dtype=torch.float64))
    assert len(found) == 1, "once a step, when all of it is there"
    assert gradient == pytest.approx(1.5 - 12 / 8)
    assert value == pytest.approx(3 - 12 / 8)


def test_weights_may_be_fixed():
    gradient, value = weighed(2, lambda inner: torch.tensor([2.0, 0.5], dtype=inner.dtype))
    assert gradient == pytest.approx(2 * 1.5 + 0.5 * 12)
    assert value == pytest.approx(2 * 3 + 0.5 * 12)
