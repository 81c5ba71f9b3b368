"""ReTrack: posterior weights of neighbors, the redirected target, and what unlearning does to a model."""

import math

import numpy as np
import pytest
import torch

from guda import config
from guda.core.errors import DataError
from guda.data.pixels import to_network_range
from guda.models.noise_schedule import NoiseSchedule
from guda.scoring.elbo import kl_terms
from guda.training.loop import train
from guda.unlearning import redirection
from guda.unlearning.retrack.compute import damping, neighbor_weights, redirected_noise, unlearn
from guda.unlearning.retrack.neighbors import nearest_retained
from guda.unlearning.retrack.plan import Unlearning, UnlearnSpec

LONG = NoiseSchedule.from_config(config.NoiseSchedule(num_train_timesteps=4000))
STEPS = torch.tensor([0, 1, 10, 100, 1000, 2000, 3500, 3990])
SHAPE = (3, 32, 32)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scales(t):
    return tuple(torch.from_numpy(scale)[t][:, None, None, None] for scale in (LONG.gammas, LONG.sigmas))


def situation(distances_in_sigmas):
    """Forget images noised to STEPS: the noise, x_t, neighbors at given distances in sigma / gamma, gamma, sigma."""
    gamma, sigma = scales(STEPS)
    forget = 0.5 * normal(0, 8, *SHAPE)
    noise = normal(1, 8, *SHAPE)
    directions = normal(2, 8, len(distances_in_sigmas), *SHAPE)
    directions /= directions.flatten(2).norm(dim=2)[..., None, None, None]
    away = torch.tensor(distances_in_sigmas, dtype=torch.float64)[:, None, None, None] * (sigma / gamma)[:, None]
    return noise, gamma * forget + sigma * noise, forget[:, None] + away * directions, gamma, sigma


def weights_by_loop(x_t, neighbors, gamma, sigma):
    """exp(-d_r) / sum exp(-d_r) with the smallest d taken out, one image and one neighbor at a time."""
    rows = []
    for row in range(len(x_t)):
        g, s = gamma[row].item(), sigma[row].item()
        d = [((x_t[row] - g * a) ** 2).sum().item() / (2 * s * s) for a in neighbors[row]]
        unnormalized = np.exp(min(d) - np.array(d))
        rows.append(unnormalized / unnormalized.sum())
    return torch.tensor(np.stack(rows))


def in_float32(values):
    return [value.float() for value in values]


def test_weights_of_images_of_real_size_add_up_to_one_where_plain_exponentials_vanish():
    _, x_t, neighbors, gamma, sigma = situation([0.0, 1.0, 2.0, 200.0])
    # Even for the image itself the exponent is -|e|^2 / 2 = -3072 / 2, and float64 ends at exp(-745).
    exponents = -((x_t[:, None] - gamma[:, None] * neighbors) ** 2).flatten(2).sum(2) / (2 * sigma.flatten(1) ** 2)
    assert (exponents.exp() == 0).all()
    weights = neighbor_weights(*in_float32([x_t, neighbors, gamma, sigma]))
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(1), torch.ones(8))


def test_weights_and_target_agree_with_a_loop_in_float64():
    # Neighbors about one noise level away: several of them share the weight, at every step.
    noise, x_t, neighbors, gamma, sigma = situation([0.5, 1.0, 1.5, 2.0, 2.5])
    expected = weights_by_loop(x_t, neighbors, gamma, sigma)
    assert (expected.max(1).values < 0.99).all()
    weights = neighbor_weights(*in_float32([x_t, neighbors, gamma, sigma]))
    # Exponents of 1,500 rounded to 2^-24 each way, and rounded inputs: 1e-3 of a weight.
    torch.testing.assert_close(weights.double(), expected, rtol=2e-3, atol=1e-6)

    target = torch.zeros_like(x_t)
    for row in range(8):
        for r in range(5):
            target[row] += expected[row, r] * (x_t[row] - gamma[row] * neighbors[row, r]) / sigma[row]
    found = redirected_noise(*in_float32([x_t, noise, neighbors, gamma, sigma]))
    # x_t - gamma a is a difference of numbers of size 1, in float32, over sigma = 3e-3 at step 0.
    torch.testing.assert_close(found.double(), target, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_unrelated_neighbors_agree_with_a_loop_in_float64(seed):
    # At small steps one neighbor takes all the weight; exponents differ by millions.
    gamma, sigma = scales(STEPS)
    x_t = gamma * 0.5 * normal(seed, 8, *SHAPE) + sigma * normal(seed + 10, 8, *SHAPE)
    neighbors = 0.5 * normal(seed + 20, 8, 10, *SHAPE)
    weights = neighbor_weights(*in_float32([x_t, neighbors, gamma, sigma]))
    torch.testing.assert_close(weights.double(), weights_by_loop(x_t, neighbors, gamma, sigma), rtol=1e-3, atol=1e-4)


def test_equally_distant_neighbors_share_at_every_step():
    # a_f + d and a_f - d, seen without noise, are as far as each other.
    gamma, sigma = scales(STEPS)
    forget, away = 0.5 * normal(0, 8, *SHAPE), 0.3 * normal(1, 8, *SHAPE)
    neighbors = torch.stack([forget + away, forget - away], dim=1)
    weights = neighbor_weights(*in_float32([gamma * forget, neighbors, gamma, sigma]))
    torch.testing.assert_close(weights, torch.full((8, 2), 0.5), rtol=0, atol=0.02)


def test_one_neighbor_gives_the_noise_seen_from_it():
    noise, x_t, neighbors, gamma, sigma = situation([30.0])
    found = redirected_noise(*in_float32([x_t, noise, neighbors, gamma, sigma]))
    torch.testing.assert_close(found.double(), (x_t - gamma * neighbors[:, 0]) / sigma, rtol=1e-3, atol=1e-3)


def test_the_forget_image_as_its_own_neighbor_gives_the_true_noise():
    noise, x_t, neighbors, gamma, sigma = situation([0.0])
    found = redirected_noise(*in_float32([x_t, noise, neighbors, gamma, sigma]))
    torch.testing.assert_close(found.double(), noise, rtol=1e-3, atol=1e-3)


def test_correction_by_hand():
    # One pixel: gamma 0.8, sigma 0.6, a_f = 1, e = 0.5: x_t = 1.1. Neighbors 1 and 0: squared distances 0.09 and
    # 1.21, over 0.72: 0.125 and 1.680556; w_1 = 1 / (1 + exp(-14/9)), which is also where x_t seems to come from.
    origin = 1 / (1 + math.exp(-14 / 9))
    x_t, noise = torch.full((1, 1, 1, 1), 1.1), torch.full((1, 1, 1, 1), 0.5)
    neighbors = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    gamma, sigma = torch.full((1, 1, 1, 1), 0.8), torch.full((1, 1, 1, 1), 0.6)
    weights = neighbor_weights(x_t, neighbors, gamma, sigma)
    torch.testing.assert_close(weights, torch.tensor([[origin, 1 - origin]]))
    target = redirected_noise(x_t, noise, neighbors, gamma, sigma)
    assert target.item() == pytest.approx((1.1 - 0.8 * origin) / 0.6, rel=1e-5)


def test_correction_is_halved_where_the_noise_is_the_bandwidth():
    # gamma 0.8, sigma 0.6 and a bandwidth of 0.75 = sigma / gamma; from one neighbor, 0, the noise is 1.1 / 0.6.
    x_t, noise = torch.full((1, 1, 1, 1), 1.1), torch.full((1, 1, 1, 1), 0.5)
    gamma, sigma = torch.full((1, 1, 1, 1), 0.8), torch.full((1, 1, 1, 1), 0.6)
    target = redirected_noise(x_t, noise, torch.zeros(1, 1, 1, 1, 1), gamma, sigma, bandwidth=0.75)
    assert target.item() == pytest.approx((0.5 + 1.1 / 0.6) / 2, rel=1e-6)
    clipped = redirected_noise(x_t, noise, torch.zeros(1, 1, 1, 1, 1), gamma, sigma, 0.75, max_correction_norm=0.1)
    assert clipped.item() == pytest.approx(0.6, rel=1e-6)


def test_expected_noise_of_gaussian_data_is_the_damped_one():
    """E[e | x_t] by numerical integration over x ~ N(a, bandwidth^2), with x_t = gamma x + sigma e."""
    gamma, sigma, bandwidth, center, x_t = 0.9, 0.3, 0.5, 0.2, 1.0
    x = np.linspace(-6, 6, 100_001)
    e = (x_t - gamma * x) / sigma
    density = np.exp(-(((x - center) / bandwidth) ** 2) / 2 - e**2 / 2)
    expected = (density * e).sum() / density.sum()
    share = damping(*(torch.full((1, 1, 1, 1), scale) for scale in (gamma, sigma)), bandwidth).item()
    assert share * (x_t - gamma * center) / sigma == pytest.approx(expected, rel=1e-5)


def test_models_unlearned_without_a_bandwidth_keep_their_specs():
    rest = {"base": "b", "images": "i", "group": "g", "method": "guda", "neighbors": "n"}
    schedule = config.NoiseSchedule()
    published = UnlearnSpec(**rest, noise_schedule=schedule, settings=Unlearning(bandwidth=0))
    assert "bandwidth" not in published.canonical()
    assert UnlearnSpec.parse(published.canonical()).settings.bandwidth == 0
    damped = UnlearnSpec(**rest, noise_schedule=schedule, settings=Unlearning(bandwidth=0.3))
    assert UnlearnSpec.parse(damped.canonical()) == damped


def test_only_longer_corrections_are_clipped():
    # Corrections (gamma / sigma)(a_f - a_r) have length 1, 4 and 0 here; the limit is 2.
    noise, gamma = torch.zeros(3, 1, 1, 2), torch.full((3, 1, 1, 1), 0.6)
    sigma = torch.full((3, 1, 1, 1), 0.8)
    away = torch.tensor([[0.6, 0.8], [2.4, -3.2], [0.0, 0.0]]).reshape(3, 1, 1, 1, 2) * 0.8 / 0.6
    x_t = torch.zeros(3, 1, 1, 2)  # a_f = 0 and e = 0
    target = redirected_noise(x_t, noise, -away, gamma, sigma, max_correction_norm=2.0)
    torch.testing.assert_close(target.reshape(3, 2), torch.tensor([[0.6, 0.8], [1.2, -1.6], [0.0, 0.0]]))


# Nearest retained images


def test_neighbors_by_brute_force():
    images = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    forget = torch.rand(60, generator=torch.Generator().manual_seed(1)) < 0.4
    rows, distances = nearest_retained(images, forget, 5)
    x = to_network_range(images).double().flatten(1).numpy()
    for place, row in enumerate(torch.nonzero(forget).flatten().tolist()):
        known = {other: np.linalg.norm(x[row] - x[other]) for other in range(60) if not forget[other]}
        expected = sorted(known, key=known.get)[:5]
        assert rows[place].tolist() == expected
        np.testing.assert_allclose(distances[place], [known[other] for other in expected], rtol=1e-6)
    assert rows.dtype == torch.int64
    assert not forget[rows].any()


def test_a_copy_of_a_forget_image_is_its_neighbor_only_if_retained():
    images = torch.zeros(4, 1, 1, 2, dtype=torch.uint8)
    images[3] = 255
    rows, distances = nearest_retained(images, torch.tensor([True, True, False, False]), 2)
    assert rows.tolist() == [[2, 3], [2, 3]]
    torch.testing.assert_close(distances, torch.tensor([[0, 8**0.5], [0, 8**0.5]]))


def test_as_many_neighbors_as_are_retained_and_no_more():
    images, forget = torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.tensor([True, True, True, False, False])
    assert nearest_retained(images, forget, 2)[0].shape == (3, 2)
    with pytest.raises(DataError, match=r"unlearn.n_neighbors is 3, but only 2 images are retained"):
        nearest_retained(images, forget, 3)


@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((3, 16, 23), 256),  # 1104 pixels, more than one exact sum
        ((1, 3, 3), 4),  # the same distances time and again
        ((1, 3, 3), 256),
        ((1, 3, 3), 1),  # copies only
    ],
)
def test_neighbors_and_the_order_of_ties_are_those_of_cdist_and_topk(shape, levels, monkeypatch):
    images = torch.randint(
        256 - levels, 256, (300, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    forget = torch.rand(300, generator=torch.Generator().manual_seed(1)) < 0.3
    pixels, retained = images.flatten(1).float() / 127.5, torch.nonzero(~forget).flatten()
    known = torch.cdist(pixels[forget], pixels[retained], compute_mode="donot_use_mm_for_euclid_dist")
    expected = known.topk(7, largest=False)
    for at_once in (16, 2048):
        monkeypatch.setattr("guda.unlearning.retrack.neighbors._rows_at_once", lambda images, at_once=at_once: at_once)
        rows, distances = nearest_retained(images, forget, 7)
        assert torch.equal(rows, retained[expected.indices])
        assert torch.equal(distances, expected.values)


# Unlearning

UNLEARNING = Unlearning(steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=1, n_neighbors=2)
FORGET = torch.tensor([True] * 5 + [False] * 7)


def unlearned(full, images, **changes):
    settings = UNLEARNING.model_copy(update=changes)
    neighbors, _ = nearest_retained(images, FORGET, settings.n_neighbors)
    return unlearn(full, images, FORGET, neighbors, settings)


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def test_unlearning_starts_from_the_full_model_exactly(denoiser, images):
    # Four steps of Adam at this rate move a weight by 4e-30 at most: seen in weights that are zero, in no other.
    student, _ = unlearned(denoiser, images, learning_rate=1e-30)
    torch.testing.assert_close(weights_of(student), weights_of(denoiser), rtol=0, atol=1e-29)


def test_unlearning_leaves_the_full_model_alone(denoiser, images):
    before = weights_of(denoiser)
    student, _ = unlearned(denoiser, images, preserve="distillation")
    assert torch.equal(weights_of(denoiser), before)
    assert not denoiser.training
    assert not any(parameter.grad is not None for parameter in denoiser.parameters())
    assert not torch.equal(weights_of(student), before)
    assert not student.training


@pytest.fixture
def first_loss(denoiser, images, monkeypatch):
    """The loss of the first step, before any weight has moved, under given settings."""

    def value(**changes):
        losses = []

        def first_step(student, draw, loss, *_, **__):
            losses.append(loss(*draw(0)).item())

        monkeypatch.setattr(redirection, "optimize", first_step)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unlearned(denoiser, images, **changes)
        return losses[0]

    return value


def test_distillation_alone_has_nothing_to_change(first_loss):
    # The student still is the full model. Weights are not compared: Adam would turn rounding into full steps.
    assert first_loss(forget_weight=0.0, preserve="distillation") < 1e-10
    assert first_loss(forget_weight=0.0, preserve="denoising") > 0.1


@pytest.mark.parametrize("preserve", ["denoising", "distillation"])
def test_forget_weight_multiplies_the_forget_term_alone(first_loss, preserve):
    preserved, one, three = (first_loss(forget_weight=weight, preserve=preserve) for weight in (0.0, 1.0, 3.0))
    assert one - preserved > 1  # the squared distance from a fresh network's guess to another image's direction
    assert three - preserved == pytest.approx(3 * (one - preserved), rel=1e-5)


@pytest.mark.parametrize("preserve", ["denoising", "distillation"])
def test_a_batch_in_parts_has_the_loss_of_the_whole(denoiser, images, monkeypatch, preserve):
    found = []

    def first_step(student, draw, loss, *_, **__):
        rows = draw(0)
        parts = zip(*(each.split(3) for each in rows), strict=True)
        found.extend([loss(*rows), sum(loss(*part) * len(part[0]) / 4 for part in parts)])  # 3 pairs, then 1

    monkeypatch.setattr(redirection, "optimize", first_step)
    unlearned(denoiser, images, preserve=preserve, forget_weight=0.7)
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize(("preserve", "per_pair"), [("denoising", 6), ("distillation", 7)])
def test_evaluations_by_hand(denoiser, images, preserve, per_pair):
    # A step takes 4 forget and 4 retained images through the student, forward and backward (3 each), and with
    # distillation the retained ones through the full model (1): 4 steps * 4 pairs * (6 or 7).
    assert unlearned(denoiser, images, preserve=preserve)[1] == 16 * per_pair


def test_unlearning_repeats_bit_for_bit_and_leaves_the_global_generator_alone(denoiser, images):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one, _ = unlearned(denoiser, images)
        torch.manual_seed(2)
        state = torch.get_rng_state()
        other, _ = unlearned(denoiser, images)
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights_of(one), weights_of(other))
    assert not torch.equal(weights_of(unlearned(denoiser, images, seed=1)[0]), weights_of(one))


def three_groups():
    """Twenty images of 1x8x8 of each of three patterns: bright left half, bright top half, bright center."""
    patterns = torch.zeros(3, 1, 8, 8)
    patterns[0, :, :, :4] = patterns[1, :, :4] = patterns[2, :, 2:6, 2:6] = 200
    noise = 10 * torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return (patterns.repeat_interleave(20, 0) + noise + 25).clamp(0, 255).to(torch.uint8)


def test_unlearning_a_group_costs_that_group_most(tiny_unet, schedule):
    images, ids, steps = three_groups(), [f"image-{i}" for i in range(60)], np.arange(60, 711, 130)
    training = config.Training(steps=250, batch_size=32, warmup_steps=10, learning_rate=5e-3, ema_decay=0.9)
    full, _ = train(images, tiny_unet, schedule, training)

    def kl_of_groups(denoiser):
        return kl_terms(denoiser, images, ids, steps, 0, 360).sum(1).reshape(3, 20).mean(1)

    def unlearned_kl(group, forget_weight):
        forget = torch.arange(60) // 20 == group
        neighbors, _ = nearest_retained(images, forget, 5)
        settings = Unlearning(
            steps=30,
            batch_size=16,
            learning_rate=1e-3,
            warmup_steps=2,
            forget_weight=forget_weight,
            preserve="denoising",
        )
        return kl_of_groups(unlearn(full, images, forget, neighbors, settings)[0])

    kl_full = kl_of_groups(full)
    raised = torch.stack([unlearned_kl(group, 0.3) - kl_full for group in range(3)])
    assert (raised.diagonal() > 5 * (raised - raised.diagonal().diag()).abs().max(1).values).all()
    assert (raised.diagonal() > kl_full).all()
    # Redirection does what going on without the group has not done yet.
    assert raised[0, 0] > 3 * (unlearned_kl(0, 0.0) - kl_full)[0]
