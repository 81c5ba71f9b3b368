"""AbU where images have prompts: what is told to the network, and which weights move."""

import dataclasses

import pytest
import torch
from golden_inputs import together
from text_inputs import IDS, LATENTS, captions, normal, prompts, text_denoiser

from guda.core.seeding import chosen, gaussian, uniform
from guda.data.training_set import TrainingSet
from guda.methods.query_unlearning import mucs
from guda.methods.query_unlearning.fisher import diagonal_fisher
from guda.methods.query_unlearning.influence import abu_influence, mucs_influence
from guda.methods.query_unlearning.plan import AbuInfluence, Fisher, MucsInfluence
from guda.scoring.losses import draw_noise, evenly_spaced

ABU = AbuInfluence(
    seed=3, train_sample=None, loss_steps=3, steps=1, step_size=10.0, damping=0.1, query_steps=4, parameters=None
)
FISHER = Fisher(images=3, steps=2, seed=5)
CROSS_ATTENTION = [r"attn2\.to_[kv]"]
TRAINING_SET = TrainingSet(LATENTS, IDS, captions())
QUERIES = TrainingSet(
    normal(50, 2, 4, 8, 8),
    ["q0", "q1"],
    dataclasses.replace(
        captions(), ids=["q0", "q1"], prompts=torch.arange(2), starts=torch.arange(3), embeddings=prompts(2, seed=51)
    ),
)


def loss(denoiser, x, noise, t, condition):
    """Mean over pixels and samples of the squared error."""
    return (noise - denoiser.predict_noise(denoiser.add_noise(x, noise, t), t, condition)).square().mean()


def cross_attention(denoiser):
    return {
        name: weight
        for name, weight in denoiser.unet.named_parameters()
        if "attn2.to_k" in name or "attn2.to_v" in name
    }


def test_the_first_prompt_is_told():
    assert torch.equal(TRAINING_SET.conditions([5, 0, 2]), captions().embeddings[[0, 0, 2]])
    assert TrainingSet(LATENTS, IDS).conditions([0]) is None


def test_fisher_is_of_the_chosen_weights_and_of_images_with_their_prompts():
    denoiser = text_denoiser()
    fisher, evaluations = diagonal_fisher(denoiser, TRAINING_SET, FISHER, 4, CROSS_ATTENTION)
    weights = cross_attention(denoiser)
    assert (fisher.keys(), evaluations) == (weights.keys(), 3 * 2 * 3)
    expected = dict.fromkeys(weights, 0)
    for row in chosen(IDS, 3, "fisher", 5):
        for share in range(2):
            step = int((share + uniform("fisher", 5, "step", IDS[row])) * 500)
            noise = torch.from_numpy(gaussian(5, IDS[row], step, (4, 8, 8)))[None]
            told = captions().first(torch.tensor([row]))
            value = loss(denoiser, LATENTS[[row]], noise, torch.tensor([step]), told)
            for name, slope in zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True):
                expected[name] += slope.square() / 6
    for name, values in fisher.items():
        torch.testing.assert_close(values, expected[name], rtol=1e-3, atol=1e-9)


def test_influence_by_hand():
    """One step up the query's loss along the weights of the Fisher information, and what it does to an image's."""
    fisher = {name: torch.full_like(weight, 0.5) for name, weight in cross_attention(text_denoiser()).items()}
    found, _ = together(abu_influence(text_denoiser(), QUERIES, TRAINING_SET, fisher, False, ABU, 64))
    denoiser, at = text_denoiser(), evenly_spaced(4, 1000)
    noise, t = draw_noise(["q1"], at, (4, 8, 8), 3)[0], torch.from_numpy(at)
    weights = cross_attention(denoiser)
    value = loss(
        denoiser, QUERIES.images[[1]].expand(4, -1, -1, -1), noise, t, prompts(2, seed=51)[[1]].expand(4, -1, -1)
    )
    slopes = torch.autograd.grad(value, list(weights.values()))
    at = evenly_spaced(3, 1000)
    noise, t = draw_noise(["i2"], at, (4, 8, 8), 3)[0], torch.from_numpy(at)
    of_image = LATENTS[[2]].expand(3, -1, -1, -1), noise, t, captions().embeddings[[2]].expand(3, -1, -1)
    with torch.no_grad():
        before = loss(denoiser, *of_image)
        for weight, slope in zip(weights.values(), slopes, strict=True):
            weight += 10 / 8 * slope / (0.5 + 0.1 * 0.5)
        after = loss(denoiser, *of_image)
    assert found.shape == (2, 8)
    assert found[1, 2].item() == pytest.approx((after - before).item(), rel=1e-2, abs=1e-8)


def test_batches_do_not_matter_and_prompts_do():
    fisher = {name: torch.full_like(weight, 0.5) for name, weight in cross_attention(text_denoiser()).items()}

    def influence(queries=QUERIES, batch_size=64):
        return together(abu_influence(text_denoiser(), queries, TRAINING_SET, fisher, False, ABU, batch_size))[0]

    whole = influence()
    torch.testing.assert_close(influence(batch_size=3), whole, rtol=1e-2, atol=1e-8)
    others = dataclasses.replace(QUERIES, captions=dataclasses.replace(QUERIES.captions, prompts=torch.tensor([1, 0])))
    assert not torch.allclose(influence(others), whole, rtol=0.1, atol=0)


def test_mucs_tells_the_query_and_the_training_images_their_prompts():
    settings = MucsInfluence(
        seed=3, train_sample=None, loss_steps=3, steps=2, batch_size=4, learning_rate=1.0e-3, forget_weight=0.5
    )
    told, denoiser = [], text_denoiser()
    predict = type(denoiser).predict_noise

    class Listening(type(denoiser)):
        def predict_noise(self, x_t, t, condition=None):
            told.append((x_t, condition))
            return predict(self, x_t, t, condition)

    denoiser.__class__ = Listening
    own = QUERIES.conditions([1])
    mucs.unlearn_image(denoiser, QUERIES.query(1), TRAINING_SET, settings)
    assert len(told) == 2 * 2
    of_images = {tuple(embedding.flatten().tolist()) for embedding in captions().first(torch.arange(8))}
    for retained, forgotten in zip(told[::2], told[1::2], strict=True):
        assert {tuple(embedding.flatten().tolist()) for embedding in retained[1]} <= of_images
        assert torch.equal(forgotten[1], own.expand(4, -1, -1))
    one, _ = together(mucs_influence(text_denoiser(), QUERIES, TRAINING_SET, settings, 64))
    assert one.shape == (2, 8)
    assert torch.equal(one, together(mucs_influence(text_denoiser(), QUERIES, TRAINING_SET, settings, 64))[0])
