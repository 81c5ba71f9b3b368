"""SISS: terms without bias, of a denoiser in closed form; their weights; the scaled gradient."""

import copy

import pytest
import torch
from test_operators import FORGET, ONE_STEP, moved_against, weights_of

from guda.core.seeding import derive_seed
from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import batch_rows, random_steps
from guda.unlearning.siss.compute import importance_weights, subtracted_terms, subtraction_weights, unlearn
from guda.unlearning.siss.plan import Siss

SETTINGS = Siss(**ONE_STEP, forget_norm=0.1)
SLOPE = 0.7


class Linear(UNetDenoiser):
    """Predicts the noise as SLOPE times the noisy image, in float64."""

    def __init__(self, schedule):
        super().__init__(torch.nn.Identity(), schedule)
        self.double()

    def predict_noise(self, x_t, t, condition=None):
        return SLOPE * x_t


def loss_in_closed_form(x, t, schedule):
    """E || e - SLOPE (gamma x + sigma e) ||^2 for one pixel x: (1 - SLOPE sigma)^2 + (SLOPE gamma x)^2."""
    gamma, sigma = schedule.gammas[t], schedule.sigmas[t]
    return (1 - SLOPE * sigma) ** 2 + (SLOPE * gamma * x) ** 2


def normal_quantiles(n):
    """n equally likely values of standard normal noise: the mean of a function of them is its expectation."""
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)


@pytest.mark.parametrize("mixture", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("t", [40, 300, 900])
def test_both_terms_are_unbiased(t, mixture, schedule):
    """Over noisy images of which the share `mixture` is a's, the terms' means are the losses at x and at a alone."""
    x, a, n = 0.8, -0.5, 200_000
    from_a = torch.arange(n) < round(mixture * n)
    noise = torch.cat([normal_quantiles(int(from_a.sum())), normal_quantiles(int((~from_a).sum()))])
    pixels = [each.double().reshape(n, 1, 1, 1) for each in (torch.full((n,), x), torch.full((n,), a), noise)]
    found = subtracted_terms(Linear(schedule), *pixels, torch.full((n,), t), from_a, mixture)
    wanted = [loss_in_closed_form(value, t, schedule) for value in (x, a)]
    assert [term.item() for term in found] == pytest.approx(wanted, rel=1e-3)


def test_weights_by_hand_sum_to_one_and_stay_finite():
    # One pixel: squares 2 ln 3 and 0, so q(m | a) = 3 q(m | x). With lambda = 1/4 the density is (3/4 + 3/4) q(m | x).
    seen_x, seen_a = torch.tensor(2.1972245773).sqrt().reshape(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    first, second = importance_weights(seen_x, seen_a, 0.25)
    torch.testing.assert_close(torch.cat([first, second]), torch.tensor([2 / 3, 2.0], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 1, 1000):  # as at the last and at the first steps, where exp() of each alone underflows
        x, a = (scale * torch.randn(50, 3, 8, 8, generator=generator) for _ in range(2))
        first, second = importance_weights(x, a, 0.25)
        torch.testing.assert_close(0.75 * first + 0.25 * second, torch.ones(50, dtype=torch.float64))
        assert 0 <= first.min() <= first.max() <= 4 / 3 + 1e-9
        assert 0 <= second.min() <= second.max() <= 4 + 1e-9


def test_an_image_paired_with_itself_has_both_weights_one():
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for weight in importance_weights(noise, noise, 0.3):
        torch.testing.assert_close(weight, torch.ones(4, dtype=torch.float64))


def test_the_forget_gradient_has_the_share_of_the_norm_that_is_asked_for():
    first, second = torch.tensor([3.0, 4.0], dtype=torch.float64), torch.tensor([0.0, 2.0], dtype=torch.float64)
    stacked = torch.stack([first, second])
    weights = subtraction_weights(stacked @ stacked.T, 0.1)  # norms 5 and 2: scaled by 0.1 * 5 / 2
    torch.testing.assert_close(weights, torch.tensor([1.0, -0.25], dtype=torch.float64))
    assert (weights[1] * second).norm() == pytest.approx(0.1 * first.norm())
    assert subtraction_weights(stacked @ stacked.T, None).tolist() == [1, -1]
    assert subtraction_weights(torch.diag(torch.tensor([2.0, 0.0])), 0.1).tolist() == [1, 0]


def gradients_by_hand(full, images):
    """Of the two terms of the first step, [2, P]; n = 12 images, of which 5 are to be forgotten."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed("step", ONE_STEP["seed"], 0))
        x = to_network_range(images[batch_rows(0, 12, 5, "all", ONE_STEP["seed"])])
        a = to_network_range(images[:5][batch_rows(0, 5, 5, "forget", ONE_STEP["seed"])])
        t, noise = random_steps(5, full.schedule), torch.randn_like(x)
        from_a = torch.rand(5) < 0.5
    model = copy.deepcopy(full).train()
    first, second = subtracted_terms(model, x, a, noise, t, from_a, 0.5)
    terms = 12 / 7 * first, 5 / 7 * second
    found = [torch.autograd.grad(term, model.parameters(), retain_graph=True) for term in terms]
    return torch.stack([torch.cat([gradient.flatten() for gradient in each]) for each in found])


@pytest.mark.parametrize("forget_norm", [0.1, None])
def test_a_step_goes_along_the_subtracted_gradients(forget_norm, denoiser, images):
    student, evaluations = unlearn(denoiser, images, FORGET, SETTINGS.model_copy(update={"forget_norm": forget_norm}))
    gradients = gradients_by_hand(denoiser, images)
    scale = 1 if forget_norm is None else 0.1 * gradients[0].norm() / gradients[1].norm()
    moved_against(weights_of(denoiser), weights_of(student), gradients[0] - scale * gradients[1])
    assert evaluations == 5 * (1 + 2 * 2)  # one pass forwards, two backwards
