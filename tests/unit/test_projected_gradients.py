"""Projected gradients of single images: against a loop of autograd and against the matrix itself."""

import numpy as np
import pytest
import torch

from guda import config
from guda.core.seeding import gaussian
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.methods.gradients.features import COMMON, projected_gradients
from guda.methods.gradients.plan import GradientsSpec
from guda.methods.gradients.projection import Projection
from guda.models.denoisers import new_denoiser

SHAPES = {"a.weight": (3, 4), "a.bias": (5,), "b.weight": (2, 2, 2)}
IDS = [f"image-{index}" for index in range(12)]
STEPS = [110, 400, 900]
DIM = 64


def random_gradients(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, *shape, generator=generator) for name, shape in SHAPES.items()}


def flat(gradients):
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)


def matrix(projection, shapes):
    """The matrix of a projection, [parameters, d]: what it makes of unit vectors."""
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    units = torch.eye(total).split([int(np.prod(shape)) for shape in shapes.values()], dim=1)
    by_name = zip(shapes.items(), units, strict=True)
    return projection({name: unit.reshape(total, *shape) for (name, shape), unit in by_name})


# --- projection --------------------------------------------------------------------------------------


def test_a_projection_is_the_product_with_a_matrix_of_one_sign_a_row():
    projection, gradients = Projection(SHAPES, 7, seed=3), random_gradients(6)
    signs = matrix(projection, SHAPES)
    assert ((signs != 0).sum(1) == 1).all()
    assert (signs.abs().sum(1) == 1).all()
    torch.testing.assert_close(projection(gradients), flat(gradients) @ signs)


def test_inner_products_are_kept_in_the_mean_over_seeds():
    g, h = flat(random_gradients(1))[0].double(), flat(random_gradients(1, seed=1))[0].double()
    h = h + 0.5 * g
    products = []
    for seed in range(500):
        signs = matrix(Projection(SHAPES, 8, seed), SHAPES).double()
        products.append(((g @ signs) @ (h @ signs)).item())
    bound = 2 * (g @ g) * (h @ h) / 8
    assert np.var(products) < bound
    assert abs(np.mean(products) - (g @ h).item()) < 4 * np.std(products) / np.sqrt(len(products))


def test_a_tensors_part_of_the_projection_does_not_depend_on_the_others():
    gradients = random_gradients(3)
    whole = Projection(SHAPES, 16, seed=1)(gradients)
    parts = [Projection({name: shape}, 16, seed=1)(gradients) for name, shape in SHAPES.items()]
    torch.testing.assert_close(whole, sum(parts))


def test_seeds_give_other_projections():
    assert not torch.equal(*(matrix(Projection(SHAPES, 16, seed), SHAPES) for seed in (1, 2)))


# --- features ----------------------------------------------------------------------------------------


def settings(**changes):
    chosen = {
        "function": "loss",
        "normalize": False,
        "steps": STEPS,
        "own_noise": True,
        "seed": 7,
        "projection_dim": DIM,
    }
    return GradientsSpec(base="b", noise_schedule=config.NoiseSchedule(), samples="s", **chosen | changes)


def projection_for(denoiser):
    return Projection({f"denoiser.{name}": tuple(w.shape) for name, w in denoiser.named_parameters()}, DIM, seed=7)


def by_autograd(denoiser, image, name, function, step):
    """The gradient of f of one image at one step by torch's autograd, by name of the weight, and the residual."""
    x, e = to_network_range(image)[None], torch.from_numpy(gaussian(7, name, step, tuple(image.shape)))[None]
    t = torch.tensor([step])
    predicted = denoiser.predict_noise(denoiser.add_noise(x, e, t), t)
    value = {
        "loss": ((e - predicted) ** 2).mean(),
        "squared_output": (predicted**2).mean(),
        "mean_output": predicted.mean(),
    }[function]
    names = [f"denoiser.{weight}" for weight, _ in denoiser.named_parameters()]
    found = torch.autograd.grad(value, list(denoiser.parameters()))
    residual = ((e - predicted) ** 2).mean().sqrt().item()
    return {name: gradient[None] for name, gradient in zip(names, found, strict=True)}, residual


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("function", ["loss", "squared_output", "mean_output"])
def test_features_are_those_of_a_loop_of_autograd(denoiser, images, function, normalize):
    projection = projection_for(denoiser)
    spec = settings(function=function, normalize=normalize)
    found, residuals = projected_gradients(denoiser, TrainingSet(images[:3], IDS[:3]), spec, batch_size=5)
    for row in range(3):
        expected, errors = torch.zeros(DIM, dtype=torch.float64), []
        for step in STEPS:
            gradients, residual = by_autograd(denoiser, images[row], IDS[row], function, step)
            length = flat(gradients).norm() if normalize else 1
            expected += (projection(gradients)[0] / length).double() / len(STEPS)
            errors.append(residual)
        np.testing.assert_allclose(found[row], expected.numpy(), rtol=1e-4, atol=1e-5 * expected.abs().max().item())
        assert residuals[row] == pytest.approx(np.mean(errors), rel=1e-5)
    assert (found.dtype, residuals.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("normalize", [False, True])
def test_neither_batch_size_nor_other_images_change_a_feature(denoiser, images, normalize):
    spec = settings(normalize=normalize)
    whole, _ = projected_gradients(denoiser, TrainingSet(images, IDS), spec, 1000)
    parts, _ = projected_gradients(denoiser, TrainingSet(images, IDS), spec, 4)
    alone, _ = projected_gradients(denoiser, TrainingSet(images[5:6], IDS[5:6]), spec, 1000)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(parts, whole, atol=1e-5 * scale)
    np.testing.assert_allclose(alone[0], whole[5], atol=1e-5 * scale)


def test_gradients_stand_apart_through_attention(schedule, images):
    unet = config.UNet(
        block_out_channels=[8, 8],
        down_block_types=["DownBlock2D", "AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D", "UpBlock2D"],
        add_attention=True,
    )
    denoiser = new_denoiser(unet, schedule, (1, 8, 8)).eval()
    found, _ = projected_gradients(denoiser, TrainingSet(images[:2], IDS[:2]), settings(steps=STEPS[:1]), 2)
    gradients, _ = by_autograd(denoiser, images[1], IDS[1], "loss", STEPS[0])
    expected = projection_for(denoiser)(gradients)[0].numpy()
    np.testing.assert_allclose(found[1], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_no_weight_is_changed_and_none_keeps_a_gradient(denoiser, images):
    before = [weight.clone() for weight in denoiser.parameters()]
    projected_gradients(denoiser, TrainingSet(images[:2], IDS[:2]), settings(), 2)
    assert all(
        torch.equal(old, new) and new.grad is None for old, new in zip(before, denoiser.parameters(), strict=True)
    )


def test_with_common_noise_an_image_has_the_same_gradient_under_any_name(denoiser, images):
    twice, names = images[[3, 3]], ["one", "other"]
    common, _ = projected_gradients(denoiser, TrainingSet(twice, names), settings(own_noise=False), 100)
    np.testing.assert_array_equal(common[0], common[1])
    named, _ = projected_gradients(denoiser, TrainingSet(images[3:4], [COMMON]), settings(), 100)
    np.testing.assert_allclose(named[0], common[0], atol=1e-5 * np.abs(common).max())
    own, _ = projected_gradients(denoiser, TrainingSet(twice, names), settings(), 100)
    assert np.abs(own[0] - own[1]).max() > 0.1 * np.abs(own).max()
