"""The training loop: what a step learns from, how fast, what is averaged, and that nothing else matters."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guda import config
from guda.core.device import Batches
from guda.data.pixels import to_network_range
from guda.models.denoisers import UNetDenoiser
from guda.training.loop import (
    CHECKED_TOGETHER,
    batch_rows,
    differentiate,
    learning_rate,
    mirrored_at_random,
    optimize,
    random_steps,
    train,
)
from guda.training.state import Execution

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
SHORT = config.Training(steps=6, batch_size=4, learning_rate=2e-3, warmup_steps=2, seed=3)


def test_network_range():
    # 0, 51, 204, 255 over 127.5 are 0, 0.4, 1.6, 2.
    x = to_network_range(torch.tensor([0, 51, 204, 255], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([-1, -0.6, 0.6, 1]))


def test_learning_rate_by_hand():
    cosine = config.Optimization(steps=14, warmup_steps=4, learning_rate=0.8, decay="cosine")
    # Warm-up 1/4, 2/4, 3/4, 4/4; then half a cosine over the ten steps left: 1 at its first step, 1/2 in the middle
    # (step 4 + 5), (1 + cos(0.9 pi)) / 2 at the last.
    rates = [learning_rate(step, cosine) for step in range(14)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates[9] == pytest.approx(0.4)
    assert rates[13] == pytest.approx(0.4 * (1 + math.cos(0.9 * math.pi)))
    assert learning_rate(14, cosine) == pytest.approx(0)


def test_constant_learning_rate_by_hand():
    constant = config.Optimization(steps=14, warmup_steps=2, learning_rate=0.8, decay="constant")
    assert [learning_rate(step, constant) for step in (0, 1, 2, 13)] == pytest.approx([0.4, 0.8, 0.8, 0.8])


@pytest.mark.parametrize("decay", ["cosine", "constant"])
def test_no_warm_up_begins_at_the_peak(decay):
    assert learning_rate(0, config.Optimization(steps=5, warmup_steps=0, learning_rate=0.8, decay=decay)) == 0.8


@PROPERTY
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 3), st.integers(0, 2**63 - 1))
def test_every_epoch_visits_every_row_once(n, batch_size, epochs, seed):
    steps = range(-(-epochs * n // batch_size))
    rows = torch.cat([batch_rows(step, n, batch_size, "train", seed) for step in steps])
    assert rows.dtype == torch.int64
    for epoch in range(epochs):
        assert sorted(rows[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_rows_do_not_depend_on_earlier_calls():
    forwards = [batch_rows(step, 10, 4, "train", 0) for step in range(6)]
    backwards = [batch_rows(step, 10, 4, "train", 0) for step in reversed(range(6))]
    assert torch.equal(torch.cat(forwards), torch.cat(backwards[::-1]))


def test_epochs_seeds_and_uses_are_shuffled_apart():
    first, second = batch_rows(0, 50, 100, "train", 0).split(50)
    orders = [first, second, batch_rows(0, 50, 50, "train", 1), batch_rows(0, 50, 50, "forget", 0), torch.arange(50)]
    assert len({tuple(order.tolist()) for order in orders}) == 5


def weights_of(denoiser):
    return torch.cat([parameter.detach().flatten() for parameter in denoiser.parameters()])


def trained(images, tiny_unet, schedule, settings=SHORT):
    return weights_of(train(images, tiny_unet, schedule, settings)[0])


def test_training_repeats_bit_for_bit_whatever_the_global_generator(images, tiny_unet, schedule):
    with_dropout = tiny_unet.model_copy(update={"dropout": 0.3})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = trained(images, with_dropout, schedule)
        torch.manual_seed(2)
        other = trained(images, with_dropout, schedule)
    assert torch.equal(one, other)


def test_rows_are_the_images_that_are_trained_on(images, tiny_unet, schedule):
    rows = torch.tensor([7, 2, 11])
    part, _ = train(images, tiny_unet, schedule, SHORT, rows=rows)
    assert torch.equal(weights_of(part), trained(images[rows], tiny_unet, schedule))


def test_training_leaves_the_global_generators_alone(images, tiny_unet, schedule):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    trained(images, tiny_unet, schedule)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_another_seed_trains_another_model(images, tiny_unet, schedule):
    other = SHORT.model_copy(update={"seed": 4})
    distance = (trained(images, tiny_unet, schedule) - trained(images, tiny_unet, schedule, other)).abs().max()
    assert distance > 0.1  # fresh weights are uniform with a spread of 0.1


def test_training_counts_three_evaluations_a_sample_and_ends_in_evaluation_mode(images, tiny_unet, schedule):
    denoiser, evaluations = train(images, tiny_unet, schedule, SHORT)
    assert evaluations == 6 * 4 * 3
    assert not any(module.training for module in denoiser.modules())


def test_training_learns(images, tiny_unet, schedule):
    # One image: the noise can be read off x_t, so the loss falls well below 1, that of predicting nothing.
    settings = config.Training(steps=60, batch_size=16, warmup_steps=5, learning_rate=5e-3, ema_decay=0)
    denoiser, _ = train(images[:1], tiny_unet, schedule, settings)
    x = to_network_range(images[:1]).expand(64, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    noise, t = torch.randn(x.shape, generator=generator), torch.randint(300, 1000, (64,), generator=generator)
    with torch.no_grad():
        assert denoiser.training_loss(x, noise, t) < 0.3


def drawn_steps(n, schedule, times=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.stack([random_steps(n, schedule) for _ in range(times)])


def test_random_steps_fall_one_into_each_part_of_the_process_in_random_order(schedule):
    steps = drawn_steps(10, schedule, times=100)
    assert torch.equal(steps.sort(1).values // 100, torch.arange(10).expand(100, -1))
    assert len(steps.argsort(1).unique(dim=0)) == 100  # of 10! orders


@pytest.mark.parametrize("n", [1, 7, 64])
def test_every_step_is_drawn_equally_often_at_every_place(schedule, n):
    first = drawn_steps(n, schedule, times=10_000)[:, 0]
    counts = torch.bincount(first // 100, minlength=10).double()
    # Chi-squared with 9 degrees of freedom: mean 9, standard deviation sqrt(18).
    assert ((counts - 1000) ** 2 / 1000).sum() < 9 + 4 * math.sqrt(18)


def test_random_steps_reach_both_ends(schedule):
    steps = drawn_steps(20_000, schedule)
    assert steps.dtype == torch.int64
    assert steps.unique().tolist() == list(range(1000))


def test_random_steps_of_a_window_reach_its_ends_alone(schedule):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert random_steps(5, schedule, (300, 304)).sort().values.tolist() == [300, 301, 302, 303, 304]
        assert random_steps(20, schedule, (980, None)).sort().values.tolist() == list(range(980, 1000))
        assert random_steps(3, schedule, (7, 7)).tolist() == [7, 7, 7]


def seen_in_training(images, tiny_unet, schedule, **settings):
    """The images that the loss is taken of, uint8, in their order."""
    seen, loss = [], UNetDenoiser.training_loss

    def recording(self, x, noise, t):
        seen.append(((x + 1) * 127.5).round().to(torch.uint8))
        return loss(self, x, noise, t)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UNetDenoiser, "training_loss", recording)
        train(images, tiny_unet, schedule, SHORT.model_copy(update=settings))
    return torch.cat(seen)


def test_flip_mirrors_half_the_images_and_changes_nothing_else(images, tiny_unet, schedule):
    run = {"steps": 30, "batch_size": 12}
    plain = seen_in_training(images, tiny_unet, schedule, **run)
    flipped = seen_in_training(images, tiny_unet, schedule, flip=True, **run)
    as_it_was = (flipped == plain).flatten(1).all(1)
    mirrored = (flipped == plain.flip(3)).flatten(1).all(1)
    assert (as_it_was ^ mirrored).all()
    # 360 coins: half of them within four standard deviations; and no batch of one kind only.
    assert abs(mirrored.sum() - 180) < 4 * math.sqrt(360 / 4)
    assert not torch.isin(mirrored.reshape(30, 12).sum(1), torch.tensor([0, 12])).any()


def test_mirrored_is_left_to_right():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen = mirrored_at_random(image.expand(20, -1, -1, -1)).unique(dim=0)
    assert seen.tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[2, 1, 0], [5, 4, 3]]]]


def test_training_with_flip_repeats_bit_for_bit(images, tiny_unet, schedule):
    flipped = SHORT.model_copy(update={"flip": True})
    one, other = (trained(images, tiny_unet, schedule, flipped) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, trained(images, tiny_unet, schedule))


class Quadratic:
    """A model of three weights, the loss |w - target(step)|^2, and the weights at every step."""

    def __init__(self):
        self.model = torch.nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.model.weight.copy_(torch.tensor([[1.0, -2.0, 3.0]]))
        self.seen = []

    def draw(self, step):
        self.seen.append(self.model.weight.detach().clone())
        return (torch.full((1,), float(step)),)

    def loss(self, target):
        return (self.model.weight - target).square().sum()

    def run(self, ema_decay=0.0, **settings):
        optimize(self.model, self.draw, self.loss, config.Optimization(**settings), 0, Execution(), ema_decay)
        return self.model.weight.detach()


@pytest.mark.parametrize("decay", [0.5, 0.15, 0.999])
def test_averaged_weights_follow_the_rule_of_diffusers(decay):
    # After update k (from 1): decay_1 = 0, decay_k = min(decay, k / (9 + k)), average += (1 - decay_k)(w - average).
    run = {"steps": 30, "warmup_steps": 0, "learning_rate": 0.1}
    plain = Quadratic()
    last = plain.run(**run)
    path = [*plain.seen[1:], last]
    average = plain.seen[0].double()
    for k, weights in enumerate(path, start=1):
        momentum = 0 if k == 1 else min(decay, k / (9 + k))
        average += (1 - momentum) * (weights.double() - average)
    torch.testing.assert_close(Quadratic().run(ema_decay=decay, **run), average.float())


def test_first_step_of_adamw_by_hand():
    # Adam's first step is lr sign(gradient); decoupled decay takes lr * decay * w. Gradient 2 (w - 0) has w's sign.
    weights = Quadratic().run(steps=1, warmup_steps=0, learning_rate=0.01, weight_decay=0.1)
    expected = [[(1 - 0.001) * w - 0.01 * math.copysign(1, w) for w in (1, -2, 3)]]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_gradients_are_clipped_to_the_norm():
    # Seen through Adam's memory: gradients g, then h, give m = 0.1 (0.9 g + h) / 0.19, v = 0.02 (0.98 g^2 + h^2) /
    # 0.0396; clipping scales g and h by different factors, so the second step differs from that of no clipping.
    run = {"steps": 2, "warmup_steps": 0, "learning_rate": 0.5, "weight_decay": 0, "decay": "constant"}
    run["adam_beta2"] = 0.98
    start = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)

    def by_hand(norm):
        w, m, v = start.clone(), 0, 0
        for step in range(2):
            g = 2 * (w - step)
            g = g * min(1, norm / g.norm().item())
            m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g**2
            w = w - 0.5 * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.98 ** (step + 1))).sqrt() + 1e-8)
        return w.float()

    # Norms of g: 2 sqrt(14) = 7.5; of h: 2 |(-0.5, -2.5, 1.5)| = 5.9.
    for norm in (6.5, 100.0):
        torch.testing.assert_close(Quadratic().run(max_grad_norm=norm, **run), by_hand(norm))
    assert not torch.allclose(by_hand(6.5), by_hand(100.0), atol=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("diverged", [2, CHECKED_TOGETHER - 1, CHECKED_TOGETHER, CHECKED_TOGETHER + 3])
def test_a_loss_that_is_not_finite_stops_the_run_and_its_step_is_named(value, diverged):
    model, drawn = torch.nn.Linear(1, 1), []

    def draw(step):
        drawn.append(step)
        return (torch.tensor([value if step == diverged else 1.0]),)

    settings = config.Optimization(steps=10 * CHECKED_TOGETHER, warmup_steps=0)
    message = rf"the loss is -?(nan|inf) at step {diverged}; lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        optimize(model, draw, lambda factor: (model.weight * factor).sum(), settings, 0, Execution())
    assert drawn[-1] == diverged | (CHECKED_TOGETHER - 1)  # the last of the steps that are checked together


def test_frozen_weights_stay():
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    settings = config.Optimization(steps=3, warmup_steps=0, weight_decay=0.5)
    optimize(model, lambda step: [torch.ones(1, 2)], lambda x: model(x).square().sum(), settings, 0, Execution(), 0.9)
    assert torch.equal(model.bias, before)


# When the GPU's memory runs out


def gradient(denoiser, draw, loss, parts):
    """The gradient of step 5, and how often memory ran out on the way."""
    tries = 1
    denoiser.zero_grad()
    with torch.random.fork_rng():
        while not differentiate(draw, loss, 5, 0, torch.device("cpu"), parts):
            denoiser.zero_grad()
            tries += 1
    return torch.cat([parameter.grad.flatten() for parameter in denoiser.parameters()]), tries - 1


def drawing(images, schedule):
    """Batches of seven images with noise and steps, and those that were drawn."""
    drawn = []

    def draw(step):
        x = to_network_range(images[batch_rows(step, len(images), 7, "train", 0)])
        drawn.append((x, torch.randn_like(x), random_steps(7, schedule)))
        return drawn[-1]

    return draw, drawn


@pytest.mark.parametrize(("limit", "parts", "times"), [(7, [7], 0), (6, [3, 3, 1], 1), (2, [1] * 7, 2)])
def test_a_batch_worked_off_in_parts_has_the_gradient_of_the_whole(
    denoiser, images, schedule, capsys, limit, parts, times
):
    draw, drawn = drawing(images, schedule)
    whole, _ = gradient(denoiser, draw, denoiser.training_loss, Batches(7))
    seen = []

    def loss(x, noise, t):
        if len(x) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append((x, noise, t))
        return denoiser.training_loss(x, noise, t)

    in_parts, ran_out = gradient(denoiser, draw, loss, Batches(64))
    torch.testing.assert_close(in_parts, whole, rtol=1e-4, atol=1e-6)
    assert (ran_out, [len(x) for x, _, _ in seen]) == (times, parts)
    assert len(capsys.readouterr().err.splitlines()) == times
    # The parts are of the batch, noise and steps that were drawn for the whole.
    for pieces, rows in zip(zip(*seen, strict=True), drawn[0], strict=True):
        assert torch.equal(torch.cat(pieces), rows)


def test_what_a_step_added_before_memory_ran_out_is_thrown_away(denoiser, images, schedule):
    draw, _ = drawing(images, schedule)
    whole, _ = gradient(denoiser, draw, denoiser.training_loss, Batches(7))

    sizes = []

    def loss(x, noise, t):
        sizes.append(len(x))
        return denoiser.training_loss(x, noise, t)

    def full(*_):
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    # The last layers have their gradients by the time the way back comes to the first.
    denoiser.unet.conv_in.weight.register_hook(full)

    in_parts, ran_out = gradient(denoiser, draw, loss, Batches(7))
    assert (ran_out, sizes) == (2, [7, 3] + 7 * [1])
    torch.testing.assert_close(in_parts, whole, rtol=1e-4, atol=1e-6)


def test_a_run_goes_on_with_what_fits(images, tiny_unet, schedule, monkeypatch, capsys):
    sizes, training_loss = [], UNetDenoiser.training_loss

    def small(self, x, noise, t):
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return training_loss(self, x, noise, t)

    monkeypatch.setattr(UNetDenoiser, "training_loss", small)
    denoiser, evaluations = train(images, tiny_unet, schedule, SHORT)
    assert sizes == [4] + 6 * [2, 2]
    assert evaluations == 6 * 4 * 3
    assert torch.isfinite(weights_of(denoiser)).all()
    assert "out of GPU memory, continuing with 2 at a time" in capsys.readouterr().err


def test_one_image_that_does_not_fit_is_an_error(images, tiny_unet, schedule, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNetDenoiser, "training_loss", fail)
    with pytest.raises(torch.OutOfMemoryError):
        train(images, tiny_unet, schedule, SHORT)
