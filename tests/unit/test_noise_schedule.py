"""The diffusion process against diffusers and the textbook, and the steps that stand for all steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from guda import config
from guda.models.noise_schedule import NoiseSchedule, betas_of, elbo_steps, scheduler_settings, step_weights

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
SCHEDULES = [(beta, T) for beta in ("squaredcos_cap_v2", "linear", "scaled_linear", "sigmoid") for T in (1000, 4000)]


def make(beta_schedule, T):
    return NoiseSchedule.from_config(config.NoiseSchedule(beta_schedule=beta_schedule, num_train_timesteps=T))


@st.composite
def step_schedules(draw):
    first, last = sorted(draw(st.lists(st.integers(1, 3999), min_size=2, max_size=2)))
    last = min(last, first + 500)
    kind = draw(st.sampled_from(["all", "stride", "geometric"]))
    stride, count = draw(st.integers(1, 60)), draw(st.integers(1, 40))
    return config.StepSchedule(kind=kind, first=first, last=last, stride=stride, count=count)


@pytest.mark.parametrize("betas", [(1e-4, 0.02), (0.00085, 0.012), (2.5e-5, 0.005)], ids=str)
@pytest.mark.parametrize(("beta_schedule", "T"), SCHEDULES)
def test_alphas_are_those_of_diffusers(beta_schedule, T, betas):
    from diffusers import DDPMScheduler

    settings = {"beta_schedule": beta_schedule, "num_train_timesteps": T}
    settings |= dict(zip(("beta_start", "beta_end"), betas, strict=True))
    ours = NoiseSchedule.from_config(config.NoiseSchedule(**settings)).alphas_cumprod
    scheduler = DDPMScheduler(**settings)
    # Their betas are float32, so b is off by up to 2^-22 b where it was squared, and log(1 - b) by 1 / (1 - b) of it;
    # what is left once their product is taken in float64.
    theirs = scheduler.betas.double().numpy()
    tolerance = 1e-12 + np.cumsum(theirs / (1 - theirs)) * 2**-22
    assert (np.abs(np.log(ours) - np.cumsum(np.log1p(-theirs))) < tolerance).all()
    # Their own product is one of T factors of float32.
    np.testing.assert_allclose(ours, scheduler.alphas_cumprod.double().numpy(), rtol=T * 2**-24)


def test_betas_by_hand():
    # 0.1, 0.2, 0.3; and the squares of 0.2, 0.3, 0.4.
    linear = config.NoiseSchedule(beta_schedule="linear", num_train_timesteps=3, beta_start=0.1, beta_end=0.3)
    np.testing.assert_allclose(NoiseSchedule.from_config(linear).alphas_cumprod, [0.9, 0.72, 0.504])
    # Half a sigmoid's way at its middle, and 1 / (1 + e^6) = 0.00247262 of it at its start.
    sigmoid = linear.model_copy(update={"beta_schedule": "sigmoid"})
    np.testing.assert_allclose(betas_of(sigmoid), [0.1 + 0.2 * 0.00247262, 0.2, 0.3 - 0.2 * 0.00247262], rtol=1e-7)
    scaled = linear.model_copy(update={"beta_schedule": "scaled_linear", "beta_start": 0.04, "beta_end": 0.16})
    np.testing.assert_allclose(NoiseSchedule.from_config(scaled).alphas_cumprod, [0.96, 0.8736, 0.733824])


def test_samplers_are_given_every_process():
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    for beta_schedule, T in SCHEDULES:
        process = config.NoiseSchedule(beta_schedule=beta_schedule, num_train_timesteps=T)
        for kind in (DDIMScheduler, DPMSolverMultistepScheduler):
            found = kind(**scheduler_settings(process)).betas.double().numpy()
            np.testing.assert_allclose(found, betas_of(process), rtol=1e-4)


def test_the_cosine_schedule_reads_no_betas():
    other = config.NoiseSchedule(beta_schedule="squaredcos_cap_v2", beta_start=0.01, beta_end=0.5)
    np.testing.assert_array_equal(
        NoiseSchedule.from_config(other).alphas_cumprod, make("squaredcos_cap_v2", 1000).alphas_cumprod
    )


@pytest.mark.parametrize(("beta_schedule", "T"), SCHEDULES)
def test_variance_ranges_are_those_of_beta_and_the_posterior(beta_schedule, T):
    schedule = make(beta_schedule, T)
    a = schedule.alphas_cumprod
    b = 1 - a[1:] / a[:-1]
    of_posterior = b * (1 - a[:-1]) / (1 - a[1:])
    assert np.isinf(schedule.log_variance_ranges[0])
    np.testing.assert_allclose(schedule.log_variance_ranges[1:], np.log(b / of_posterior), rtol=1e-9, atol=1e-15)


def test_scales_satisfy_pythagoras_and_lose_signal_at_every_step():
    schedule = make("squaredcos_cap_v2", 1000)
    np.testing.assert_allclose(schedule.gammas**2 + schedule.sigmas**2, 1, rtol=1e-12)
    assert (np.diff(schedule.gammas) < 0).all()
    assert (np.diff(schedule.sigmas) > 0).all()


@pytest.mark.parametrize(("beta_schedule", "T"), SCHEDULES)
@pytest.mark.parametrize("i", [1, 2, 17, 500, 900, 998])
def test_kl_weight_is_the_divergence_of_posterior_and_model(beta_schedule, T, i):
    # Ho et al. 2020, eq. 6, 7 and 11, with both variances that of the posterior:
    #   q(x_{i-1} | x_i, x_0) has mean sqrt(a_{i-1}) b / (1 - a_i) x_0 + sqrt(1 - b) (1 - a_{i-1}) / (1 - a_i) x_i,
    #   p(x_{i-1} | x_i)      has mean (x_i - b / sqrt(1 - a_i) e_hat) / sqrt(1 - b),
    #   variance b (1 - a_{i-1}) / (1 - a_i), b = 1 - a_i / a_{i-1}.
    schedule = make(beta_schedule, T)
    a, before = schedule.alphas_cumprod[i], schedule.alphas_cumprod[i - 1]
    b = 1 - a / before
    x, e, e_hat = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(i)).unbind()
    x_i = a**0.5 * x + (1 - a) ** 0.5 * e
    posterior_mean = before**0.5 * b / (1 - a) * x + (1 - b) ** 0.5 * (1 - before) / (1 - a) * x_i
    model_mean = (x_i - b / (1 - a) ** 0.5 * e_hat) / (1 - b) ** 0.5
    scale = (b * (1 - before) / (1 - a)) ** 0.5
    divergence = kl_divergence(Normal(posterior_mean, scale), Normal(model_mean, scale)).sum()
    weighted = schedule.kl_weights[i] * (e - e_hat).square().sum()
    torch.testing.assert_close(weighted, divergence, rtol=1e-9, atol=0)


def test_step_zero_has_infinite_weight():
    weights = make("linear", 1000).kl_weights
    assert weights.shape == (1000,)
    assert np.isinf(weights[0])


def test_weights_of_4000_steps_are_exact():
    # 1 - a loses all digits of a float32 at small i. For the cosine schedule it has a closed form without
    # cancellation: a_i = cos^2 v / cos^2 u, and cos^2 u - cos^2 v = sin(v - u) sin(v + u).
    T, u = 4000, 0.008 / 1.008 * np.pi / 2
    v = ((np.arange(T) + 1) / T + 0.008) / 1.008 * np.pi / 2
    snr = np.cos(v) ** 2 / (np.sin(v - u) * np.sin(v + u))
    exact = (snr[:-1] / snr[1:] - 1) / 2
    # The last step alone has its beta capped.
    np.testing.assert_allclose(make("squaredcos_cap_v2", T).kl_weights[1:-1], exact[:-1], rtol=1e-9)


@pytest.mark.parametrize(("beta_schedule", "T"), SCHEDULES)
def test_weights_are_positive_and_smooth(beta_schedule, T):
    log_weights = np.log(make(beta_schedule, T).kl_weights[20:-5])
    assert np.isfinite(log_weights).all()
    # w_i is a smooth function of i with features no sharper than 1 / i at the near end and 1 / (T - i) at the far
    # one, so second differences of its logarithm are below 1 / 20^2 and (far end, 2 log) 2 / 5^2; alphas rounded to
    # float32 give 0.009 at 4000 cosine steps.
    assert np.abs(np.diff(log_weights, 2))[: T // 2].max() < 1 / 20**2
    assert np.abs(np.diff(log_weights, 2)).max() < 2 / 5**2


def test_steps_by_hand():
    window = {"first": 3, "last": 11}
    assert elbo_steps(config.StepSchedule(kind="all", **window)).tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert elbo_steps(config.StepSchedule(kind="stride", stride=4, **window)).tolist() == [3, 7, 11]
    assert elbo_steps(config.StepSchedule(kind="stride", stride=5, **window)).tolist() == [3, 8]
    # 2, 4, 8, .., 128; and sixteen steps between 1 and 4 are all four of them.
    geometric = config.StepSchedule(kind="geometric", first=2, last=128, count=7)
    assert elbo_steps(geometric).tolist() == [2, 4, 8, 16, 32, 64, 128]
    assert elbo_steps(config.StepSchedule(kind="geometric", first=1, last=4, count=16)).tolist() == [1, 2, 3, 4]


@PROPERTY
@given(step_schedules())
def test_steps_lie_in_the_window_in_order_and_once(steps):
    found = elbo_steps(steps)
    assert found.dtype == np.int64
    assert found[0] == steps.first
    assert found[-1] <= steps.last
    assert (np.diff(found) > 0).all()
    if steps.kind == "geometric" and steps.count > 1:
        assert found[-1] == steps.last


@PROPERTY
@given(step_schedules())
def test_every_schedule_stands_for_the_whole_window(schedule):
    weights = step_weights(elbo_steps(schedule), schedule.first, schedule.last)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(schedule.last - schedule.first + 1, rel=1e-12)


@PROPERTY
@given(step_schedules(), st.floats(-10, 10), st.floats(-10, 10))
def test_linear_functions_are_summed_exactly_when_both_ends_are_nodes(schedule, slope, offset):
    nodes = np.union1d(elbo_steps(schedule), [schedule.last])
    window = np.arange(schedule.first, schedule.last + 1)
    estimate = step_weights(nodes, schedule.first, schedule.last) @ (slope * nodes + offset)
    # Relative to the sum of magnitudes, since the sum itself may vanish.
    magnitude = (np.abs(slope) * window + np.abs(offset)).sum()
    assert abs(estimate - (slope * window + offset).sum()) <= 1e-12 * magnitude


def test_weights_by_hand():
    # Window 1..5, nodes 1 and 5: the hats over 1..5 are 1, 3/4, 1/2, 1/4, 0 and its mirror image.
    np.testing.assert_allclose(step_weights(np.array([1, 5]), 1, 5), [2.5, 2.5])
    # Nodes 2 and 4: constant beyond them, so 1 + 1 + 1/2 each.
    np.testing.assert_allclose(step_weights(np.array([2, 4]), 1, 5), [2.5, 2.5])
    # One node stands for all; all nodes stand for themselves.
    np.testing.assert_allclose(step_weights(np.array([3]), 1, 5), [5])
    np.testing.assert_allclose(step_weights(np.arange(1, 6), 1, 5), np.ones(5))


def test_geometric_steps_sum_a_decaying_function():
    # For f = 1/i on nodes with ratio r, a trapezoid over one interval is (r - 1/r) / 2 against the integral ln r:
    # too large by sinh(h)/h, h = ln r. Sixteen nodes on 60..710: h = ln(710/60)/15 = 0.1648, so by 0.45 %.
    first, last = 60, 710
    steps = elbo_steps(config.StepSchedule(kind="geometric", first=first, last=last, count=16))
    ratio = (step_weights(steps, first, last) / steps).sum() / (1 / np.arange(first, last + 1)).sum()
    h = np.log(last / first) / 15
    assert ratio == pytest.approx(np.sinh(h) / h, abs=5e-4)


def test_stride_steps_sum_a_decaying_function():
    # f = exp(-i/100), every 10th step, both ends nodes: h/2 coth(h/2) = 1.000833 with h = 10/100, as above,
    # against steps of one with h = 1/100: 1.0000083.
    window, steps = np.arange(10, 501), np.arange(10, 501, 10)
    ratio = step_weights(steps, 10, 500) @ np.exp(-steps / 100) / np.exp(-window / 100).sum()
    assert ratio == pytest.approx(0.05 / np.tanh(0.05), abs=1e-4)
