"""Networks that predict the variance of their reverse steps beside the noise (Nichol & Dhariwal 2021)."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from guda import config
from guda.models.denoisers import UNetDenoiser, load_denoiser, new_denoiser, save_denoiser
from guda.models.denoisers.variance import VLB_WEIGHT, reverse_step_kl
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import TrainSpec
from guda.training.loop import optimize
from guda.training.state import Execution
from guda.unlearning.retrack.compute import unlearn
from guda.unlearning.retrack.plan import Unlearning

PREDICTIONS = ["epsilon", "v_prediction", "sample"]


def schedule_of(prediction_type="epsilon", beta_schedule="squaredcos_cap_v2"):
    settings = config.NoiseSchedule(
        num_train_timesteps=1000, beta_schedule=beta_schedule, prediction_type=prediction_type
    )
    return NoiseSchedule.from_config(settings)


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="session")
def learned_unet(tiny_unet):
    return tiny_unet.model_copy(update={"learned_variance": True})


@pytest.fixture
def learned(learned_unet, schedule):
    """A network with fresh weights for images of 1x8x8: two channels out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_denoiser(learned_unet, schedule, (1, 8, 8)).eval()


# --- the divergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("beta_schedule", ["squaredcos_cap_v2", "linear"])
@pytest.mark.parametrize("i", [1, 2, 40, 500, 998, 999])
@pytest.mark.parametrize("v", [-1.0, -0.3, 0.0, 1.0, 1.5])
def test_divergence_is_that_of_the_two_gaussians(beta_schedule, i, v):
    # Ho et al. 2020, eq. 6, 7 and 11; the variance of Nichol & Dhariwal 2021, eq. 15.
    schedule = schedule_of(beta_schedule=beta_schedule)
    a, before = schedule.alphas_cumprod[i], schedule.alphas_cumprod[i - 1]
    b = 1 - a / before
    x, e, e_hat = normal(i, 3, 12, dtype=torch.float64).unbind()
    x_i = a**0.5 * x + (1 - a) ** 0.5 * e
    posterior_mean = before**0.5 * b / (1 - a) * x + (1 - b) ** 0.5 * (1 - before) / (1 - a) * x_i
    model_mean = (x_i - b / (1 - a) ** 0.5 * e_hat) / (1 - b) ** 0.5
    smallest, largest = b * (1 - before) / (1 - a), b
    variance = largest ** ((v + 1) / 2) * smallest ** ((1 - v) / 2)
    expected = kl_divergence(Normal(posterior_mean, smallest**0.5), Normal(model_mean, variance**0.5))
    found = reverse_step_kl(
        torch.tensor(v, dtype=torch.float64), e - e_hat, schedule.kl_weights[i], schedule.log_variance_ranges[i]
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-12)


class Fixed(torch.nn.Module):
    """A network that is wrong by `error` in the noise of all images, in any terms, and whose v is one parameter."""

    def __init__(self, schedule, noise, error, v):
        super().__init__()
        self.schedule, self.noise, self.v = schedule, noise + error, torch.nn.Parameter(torch.tensor(v))

    def forward(self, x_t, t):
        gamma, sigma = (
            torch.tensor(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )
        x = (x_t - sigma * self.noise) / gamma
        prediction = {"epsilon": self.noise, "v_prediction": gamma * self.noise - sigma * x, "sample": x}
        output = prediction[self.schedule.prediction_type].float()
        return SimpleNamespace(sample=torch.cat([output, self.v.expand(output.shape)], dim=1))


def loss_of(prediction_type, error, v, steps):
    """The loss at these steps of a network with a learned variance, the same without, and v after its gradient."""
    schedule, x, noise = schedule_of(prediction_type), normal(2, 4, 1, 4, 4), normal(3, 4, 1, 4, 4)
    network = Fixed(schedule, noise, error, v)
    whole = UNetDenoiser(network, schedule).training_loss(x, noise, torch.tensor(steps))
    simple = copy.deepcopy(network)
    simple.forward = lambda x_t, t: SimpleNamespace(sample=network(x_t, t).sample[:, :1])
    return whole, UNetDenoiser(simple, schedule).training_loss(x, noise, torch.tensor(steps)), network.v


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_loss_is_simple_plus_the_sum_over_steps_of_the_divergence(prediction_type):
    # With v = -1 the variance is the posterior's, and KL_i is the schedule's weight times the squared error.
    weights = schedule_of().kl_weights
    whole, simple, _ = loss_of(prediction_type, 0.1, -1.0, [200, 400, 600, 800])
    expected = VLB_WEIGHT * 1000 * weights[[200, 400, 600, 800]].mean() * 0.1**2
    torch.testing.assert_close((whole - simple).item(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_step_zero_is_left_out(prediction_type):
    whole, simple, v = loss_of(prediction_type, 0.1, 0.4, [0, 0, 0, 0])
    assert whole == simple
    whole.backward()
    assert v.grad == 0


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("i", [3, 100, 700])
def test_the_best_variance_is_the_posteriors_and_the_error_of_the_mean(prediction_type, i):
    # d/dr of (log r + (1 + 2 w d^2) / r) is zero at r = 1 + 2 w d^2, and r = exp((v + 1) / 2 * range).
    schedule, error = schedule_of(), 0.3
    ratio = torch.tensor(1 + 2 * schedule.kl_weights[i] * error**2)
    best = (2 * ratio.log() / schedule.log_variance_ranges[i] - 1).item()

    def slope(v):
        whole, _, parameter = loss_of(prediction_type, error, v, [i] * 4)
        whole.backward()
        return parameter.grad.item()

    # The curvature at the minimum is VLB_WEIGHT * T * (range / 2)^2 / 2.
    curvature = VLB_WEIGHT * 1000 * (schedule.log_variance_ranges[i] / 2) ** 2 / 2
    assert (slope(best + 0.01) - slope(best - 0.01)) / 0.02 == pytest.approx(curvature, rel=0.02)
    assert abs(slope(best)) < 0.01 * curvature


# --- real networks -----------------------------------------------------------------------------------


def gradients(denoiser, x, noise, t):
    denoiser.zero_grad()
    denoiser.training_loss(x, noise, t).backward()
    return denoiser.unet.conv_out.weight.grad.clone(), denoiser.unet.conv_out.bias.grad.clone()


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_the_variational_term_gives_the_noise_channels_no_gradient(learned, prediction_type):
    denoiser = UNetDenoiser(learned.unet, schedule_of(prediction_type))
    x, noise, t = normal(0, 8, 1, 8, 8), normal(1, 8, 1, 8, 8), torch.arange(8) * 120 + 1
    weight, bias = gradients(denoiser, x, noise, t)
    # The noise channel by itself: the simple loss of its output alone.
    simple = copy.deepcopy(denoiser)
    simple.unet.conv_out.weight = torch.nn.Parameter(denoiser.unet.conv_out.weight[:1].detach())
    simple.unet.conv_out.bias = torch.nn.Parameter(denoiser.unet.conv_out.bias[:1].detach())
    simple_weight, simple_bias = gradients(simple, x, noise, t)
    torch.testing.assert_close(weight[:1], simple_weight)
    torch.testing.assert_close(bias[:1], simple_bias)
    assert weight[1:].abs().max() > 0


def test_scores_and_samples_see_the_noise_alone(learned):
    x_t, t = normal(0, 4, 1, 8, 8), torch.tensor([1, 20, 300, 999])
    with torch.no_grad():
        before = learned.predict_noise(x_t, t)
        learned.unet.conv_out.weight[1:] += 1
        assert torch.equal(learned.predict_noise(x_t, t), before)
    assert before.shape == x_t.shape
    assert learned.image_shape == (1, 8, 8)


def test_a_variance_head_learns(learned):
    """From a network without knowledge of the noise, e_theta = 0, to variances better than any one v."""
    x, noise, t = normal(0, 64, 1, 8, 8), normal(1, 64, 1, 8, 8), torch.arange(64) * 15 + 1
    last = learned.unet.conv_out
    learned.requires_grad_(False)
    last.requires_grad_(True)

    def bound(v=None):
        """L_vlb, with a head that says v everywhere if one is given."""
        with torch.no_grad():
            tested = copy.deepcopy(learned)
            for parameter in (tested.unet.conv_out.weight, tested.unet.conv_out.bias):
                parameter[:1] = 0
                if v is not None:
                    parameter[1:] = 0 if parameter.ndim > 1 else v
            return ((tested.training_loss(x, noise, t) - noise.square().mean()) / VLB_WEIGHT).item()

    with torch.no_grad():
        last.weight[:1], last.bias[:1] = 0, 0
    before = bound()
    settings = config.Optimization(steps=60, warmup_steps=0, learning_rate=0.05, weight_decay=0, max_grad_norm=100)
    optimize(learned, lambda step: (x, noise, t), learned.training_loss, settings, 0, Execution())
    assert bound() < 0.97 * min(before, *(bound(v) for v in (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0)))


def test_a_model_is_read_back_with_its_variance(tmp_path, learned, learned_unet, schedule):
    settings = config.NoiseSchedule(num_train_timesteps=1000)
    spec = TrainSpec(images="i", excluded=None, unet=learned_unet, noise_schedule=settings, training=config.Training())
    save_denoiser(tmp_path, learned, spec)
    loaded, _ = load_denoiser(tmp_path, schedule, spec.digest())
    x_t, t = normal(0, 2, 1, 8, 8), torch.tensor([1, 999])
    with torch.no_grad():
        assert torch.equal(loaded.unet(x_t, t).sample, learned.unet(x_t, t).sample)
    assert loaded.unet.config.out_channels == 2


def test_unlearning_leaves_the_variance_channels_of_the_last_layer_as_they_are(images, learned):
    settings = Unlearning(steps=3, batch_size=4, warmup_steps=0, n_neighbors=2, weight_decay=0)
    forget = torch.arange(12) < 4
    student, _ = unlearn(learned, images, forget, torch.tensor([[4, 5], [6, 7], [8, 9], [10, 11]]), settings)
    before, after = (denoiser.unet.conv_out.weight.detach() for denoiser in (learned, student))
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])
