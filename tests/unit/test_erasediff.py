"""EraseDiff: the direction of a step by hand and by its definition, and what its two losses are of."""

import copy

import pytest
import torch
from test_operators import FORGET, ONE_STEP, RATE, moved_against, weights_of
from torch.nn.functional import mse_loss

from guda.core.seeding import derive_seed
from guda.data.pixels import to_network_range
from guda.training.loop import batch_rows, random_steps
from guda.unlearning.erasediff.compute import constraint_weights, unlearn
from guda.unlearning.erasediff.plan import EraseDiff

SETTINGS = EraseDiff(**ONE_STEP, erasure_rate=0.1)


@pytest.mark.parametrize(
    ("retain", "forget", "weight"),
    [
        # <r, f> = -1 and <f, f> = 2: lambda = 0.1 + 1/2, so that (0.4, 0.6) lowers L_f at 0.2 = 0.1 * 2.
        ([1, 0], [-1, 1], 0.6),
        # Orthogonal: eta itself. Aligned: retained images alone lower L_f faster than asked, 1 > 0.1.
        ([1, 0], [0, 3], 0.1),
        ([1, 1], [1, 0], 0.0),
        # Nothing is left to erase.
        ([1, 1], [0, 0], 0.0),
    ],
)
def test_weight_of_the_forget_loss_by_hand(retain, forget, weight):
    r, f = (torch.tensor(values, dtype=torch.float64) for values in (retain, forget))
    inner = torch.stack([r, f]) @ torch.stack([r, f]).T
    torch.testing.assert_close(constraint_weights(inner, 0.1), torch.tensor([1.0, weight], dtype=torch.float64))


def test_no_other_direction_that_erases_as_fast_is_nearer_to_the_retain_gradient():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        r, f, other = torch.randn(3, 5, generator=generator, dtype=torch.float64)
        stacked = torch.stack([r, f])
        direction = constraint_weights(stacked @ stacked.T, 0.3) @ stacked
        wanted = 0.3 * f @ f
        assert direction @ f >= wanted - 1e-12
        # Another direction, brought to the constraint's border by the least change where it misses it.
        allowed = r + other + f * ((wanted - (r + other) @ f) / (f @ f)).clamp_min(0)
        assert (direction - r).norm() <= (allowed - r).norm() + 1e-12


def gradients_by_hand(full, images):
    """Of the retain and of the forget loss of the first step, [2, P]; what is drawn comes in the operator's order."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("step", ONE_STEP["seed"], 0))
        drawn = []
        for name, members in (("retain", ~FORGET), ("forget", FORGET)):
            rows = torch.nonzero(members).flatten()[batch_rows(0, int(members.sum()), 5, name, ONE_STEP["seed"])]
            x = to_network_range(images[rows])
            drawn.append([x, torch.randn_like(x), random_steps(5, full.schedule)])
        uniform = torch.rand_like(x)
    assert 0 <= uniform.min() < 0.05 < 0.95 < uniform.max() < 1
    found = []
    for (x, noise, t), target in zip(drawn, (drawn[0][1], uniform), strict=True):
        model = copy.deepcopy(full).train()
        mse_loss(model.predict_noise(model.add_noise(x, noise, t), t), target).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    return torch.stack(found)


def test_a_step_goes_along_the_weighted_gradients(denoiser, images):
    student, evaluations = unlearn(denoiser, images, FORGET, SETTINGS)
    gradients = gradients_by_hand(denoiser, images)
    weights = constraint_weights((gradients @ gradients.T).double(), 0.1).float()
    moved_against(weights_of(denoiser), weights_of(student), weights @ gradients)
    assert evaluations == 2 * 5 * 3
    assert SETTINGS.learning_rate == RATE
