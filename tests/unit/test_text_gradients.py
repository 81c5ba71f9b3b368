"""Projected gradients of latents told their prompts, with respect to some of the weights, or to adapters."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from text_experiments import text_experiment
from text_inputs import IDS, LATENTS, PROCESS, captions, text_denoiser

from guda.core.errors import ConfigError
from guda.core.paths import TRAINING
from guda.core.seeding import gaussian
from guda.data.training_set import TrainingSet
from guda.methods import GRADIENT_METHODS, get_method
from guda.methods.gradients.features import projected_gradients
from guda.methods.gradients.plan import CROSS_ATTENTION, OF_ADAPTERS, GradientsSpec, PartialGradientsSpec
from guda.methods.gradients.projection import Projection
from guda.models.denoisers import add_adapters
from guda.models.denoisers.text_unet import select_trainable
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

STEPS, DIM, SEED, RANK = [150, 700], 32, 7, 3
SAMPLES = TrainingSet(LATENTS, IDS, captions())
KEYS = r"attn2\.to_k"


def spec(parameters=None, rank=None, **changes):
    values = {"function": "loss", "normalize": False, "steps": STEPS, "own_noise": True, "seed": SEED} | changes
    values |= {"base": "b", "noise_schedule": PROCESS, "samples": "s", "projection_dim": DIM}
    if parameters is None:
        return GradientsSpec(**values)
    return PartialGradientsSpec(**values, parameters=parameters, lora_rank=rank)


def by_autograd(denoiser, row, step, names):
    """The gradient of an image's loss at one step, told its first prompt, with respect to weights by their names."""
    x, e, t = LATENTS[[row]], torch.from_numpy(gaussian(SEED, IDS[row], step, (4, 8, 8)))[None], torch.tensor([step])
    told = captions().first(torch.tensor([row]))
    loss = (e - denoiser.predict_noise(denoiser.add_noise(x, e, t), t, told)).square().mean()
    weights = dict(denoiser.unet.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, [weights[name] for name in names]), strict=True))


def projected(gradients):
    """Features [d] of gradients by the names of the network's weights."""
    named = {f"denoiser.unet.{name}": gradient for name, gradient in gradients.items()}
    projection = Projection({name: tuple(gradient.shape) for name, gradient in named.items()}, DIM, SEED)
    return projection({name: gradient[None] for name, gradient in named.items()})[0]


@pytest.mark.parametrize("parameters", [None, [KEYS], CROSS_ATTENTION])
def test_gradients_are_of_the_named_weights_and_of_images_told_their_prompts(parameters):
    denoiser = text_denoiser()
    found, _ = projected_gradients(denoiser, SAMPLES, spec(parameters), 4)
    names = [name for name, _ in denoiser.unet.named_parameters()]
    if parameters is not None:
        names = [name for name in names if ("attn2.to_k" if parameters == [KEYS] else ".attn2.") in name]
    for row in (0, 5):
        expected = sum(projected(by_autograd(denoiser, row, step, names)) for step in STEPS) / len(STEPS)
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item())


def test_gradients_of_adapters_are_those_of_their_weights_projected_by_a():
    """At B = 0 the weight is W + B A, so that the gradient with respect to B is that of W times A^T."""
    denoiser = text_denoiser()
    found, _ = projected_gradients(denoiser, SAMPLES, spec(OF_ADAPTERS, RANK), 8)
    adapted = copy.deepcopy(denoiser)
    add_adapters(adapted, RANK, RANK, SEED)
    downs = {name: weight for name, weight in adapted.unet.named_parameters() if ".lora_A." in name}
    layers = {name: name.split(".lora_A.")[0] + ".weight" for name in downs}
    expected = 0
    for step in STEPS:
        whole = by_autograd(denoiser, 5, step, list(layers.values()))
        ups = {name.replace("lora_A", "lora_B"): whole[layers[name]] @ down.T for name, down in downs.items()}
        expected = expected + projected(ups) / len(STEPS)
    np.testing.assert_allclose(found[5], expected.detach(), rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("normalize", [False, True])
def test_neither_batch_size_nor_other_images_change_a_feature_and_prompts_do(normalize):
    denoiser, settings = text_denoiser(), spec([KEYS], normalize=normalize)
    whole, _ = projected_gradients(denoiser, SAMPLES, settings, 100)
    parts, _ = projected_gradients(denoiser, SAMPLES, settings, 2)
    np.testing.assert_allclose(parts, whole, atol=1e-4 * np.abs(whole).max())
    others = dataclasses.replace(captions(), embeddings=captions().embeddings.flip(0))
    told = TrainingSet(LATENTS, IDS, others)
    assert np.abs(projected_gradients(denoiser, told, settings, 100)[0] - whole).max() > 0.1 * np.abs(whole).max()


def test_an_expression_that_no_weight_has_is_answered_with_the_nearest_names():
    with pytest.raises(ConfigError, match=r"`parameters` of trak, dtrak or das: 'attn3' is found in no name of"):
        projected_gradients(text_denoiser(), SAMPLES, spec(["attn3"]), 4)


# --- which weights an experiment asks for -------------------------------------------------------------


def asked(text=None, **settings):
    of = text_experiment(text, methods=["trak"], attribution={"trak": settings})
    return of, get_method("trak").features_spec(of, TRAINING)


def test_gradients_are_of_the_weights_that_fine_tuning_trains():
    of, whole = asked()
    assert (type(whole), whole.samples) == (GradientsSpec, of.family.encoded_spec(TRAINING).digest())
    _, partial = asked({"trainable": "cross_attention"})
    assert (partial.parameters, partial.lora_rank) == (CROSS_ATTENTION, None)
    denoiser = text_denoiser()
    select_trainable(denoiser, "cross_attention")
    trained = {name for name, weight in denoiser.unet.named_parameters() if weight.requires_grad}
    assert trained == {name for name, _ in denoiser.unet.named_parameters() if ".attn2." in name}


def test_or_of_those_that_are_named_or_of_adapters():
    _, named = asked({"trainable": "cross_attention"}, parameters=["conv_in"])
    assert (named.parameters, named.lora_rank) == (["conv_in"], None)
    _, adapters = asked({"anchors": {"lora_rank": 5}}, parameters="lora")
    assert (adapters.parameters, adapters.lora_rank) == (OF_ADAPTERS, 5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "attn",
            r"attribution\.trak\.parameters: expected lora, a list of regular expressions, or null \(found 'attn'",
        ),
        (["("], r"attribution\.trak\.parameters: '\(' is not a regular expression"),
        ("lora", r"attribution\.trak\.parameters: lora is for text-to-image models; give regular expressions"),
    ],
)
def test_what_names_no_weights_is_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        Experiment(load_config({"methods": ["trak"], "attribution": {"trak": {"parameters": value}}}))


def test_specs_of_scores_do_not_name_weights():
    """Scores follow from the features, whose specs do; and those made before there was a choice stay as they are."""
    whole, partial = (
        Experiment(load_config({"methods": list(GRADIENT_METHODS), "attribution": {"das": {"parameters": parameters}}}))
        for parameters in (None, ["conv_in"])
    )
    for of in (whole, partial):
        assert all('"parameters"' not in of.method_spec(name).canonical() for name in GRADIENT_METHODS)
    das = get_method("das")
    assert '"parameters"' not in das.features_spec(whole, TRAINING).canonical()
    assert das.features_spec(partial, TRAINING).parameters == ["conv_in"]
    assert whole.method_spec("das") != partial.method_spec("das")
