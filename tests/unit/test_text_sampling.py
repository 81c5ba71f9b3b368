"""Latents generated for prompts: classifier-free guidance, and nothing clipped."""

import pytest
import torch
from text_inputs import PROCESS, normal, prompts, text_denoiser

from guda.core.seeding import gaussian
from guda.models.denoisers import GuidedDenoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import BATCH_SIZE, generate_latents
from guda.scoring.elbo import kl_terms

EMPTY = prompts(1, seed=20)[0]
IDS = ["a", "b", "c"]
T = torch.tensor([1, 300, 998])
SAMPLERS = ["ddim", "ddpm", "dpmsolver++"]


def generated(ids, condition, scale, sampler="ddim", steps=2, denoiser=None):
    guided = GuidedDenoiser(denoiser or text_denoiser(), condition, EMPTY, scale)
    return generate_latents(guided, PROCESS, ids, 0, steps, sampler)


@torch.no_grad()
def test_guidance_by_hand():
    denoiser, x_t, told, untold = text_denoiser(), normal(0, 3, 4, 8, 8), prompts(3), EMPTY.expand(3, -1, -1)
    conditional, unconditional = (denoiser.predict_noise(x_t, T, condition) for condition in (told, untold))
    assert (conditional - unconditional).abs().max() > 1e-3

    def guided(scale):
        return GuidedDenoiser(denoiser, told, EMPTY, scale).predict_noise(x_t, T)

    assert torch.equal(guided(1.0), conditional)
    assert torch.equal(guided(0.0), unconditional)
    torch.testing.assert_close(guided(3.0), 3 * conditional - 2 * unconditional, rtol=1e-4, atol=1e-5)


def test_a_latent_depends_on_its_prompt_and_id_alone():
    condition = prompts(3)
    together = generated(IDS, condition, 2.0)
    assert (together.dtype, together.shape) == (torch.float32, (3, 4, 8, 8))
    assert torch.equal(generated(["c", "a"], condition[[2, 0]], 2.0), together[[2, 0]])
    others = generated(IDS, torch.cat([condition[:1], prompts(2, seed=11)]), 2.0)
    assert torch.equal(others[0], together[0])
    assert ((others[1:] - together[1:]).abs().amax((1, 2, 3)) > 1e-3).all()


class OneLatent:
    """Knows the one latent there is for each prompt: the prompt's first number, everywhere."""

    device = torch.device("cpu")
    image_shape = (4, 2, 2)
    schedule = NoiseSchedule.from_config(PROCESS)

    def predict_noise(self, x_t, t, condition):
        gamma, sigma = (
            torch.tensor(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )
        return ((x_t - gamma * condition[:, 0, :1, None, None]) / sigma).float()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_latents_beyond_the_range_of_images_are_reached(sampler):
    condition = torch.zeros(2, 5, 8)
    condition[:, 0, 0] = torch.tensor([7.0, -3.5])
    found = generated(["a", "b"], condition, 1.0, sampler, 10, OneLatent())
    torch.testing.assert_close(found, torch.tensor([7.0, -3.5])[:, None, None, None].expand(2, 4, 2, 2))


def test_ancestral_steps_in_latent_space_by_hand():
    # Two steps, the second of half the thousand; the prediction is never clipped (Ho et al. 2020, algorithm 2).
    model, a = OneLatent(), OneLatent.schedule.alphas_cumprod
    condition = torch.full((1, 5, 8), 4.0)
    x = gaussian(0, "q", 1000, (4, 2, 2)).astype("f8")
    for t, before in [(999, 499), (499, None)]:
        kept = 1.0 if before is None else a[before]
        alpha = a[t] / kept
        mean = kept**0.5 * (1 - alpha) / (1 - a[t]) * 4.0 + alpha**0.5 * (1 - kept) / (1 - a[t]) * x
        x = mean + ((1 - kept) / (1 - a[t]) * (1 - alpha)) ** 0.5 * gaussian(0, "q", 1001 + t, (4, 2, 2))
    found = generated(["q"], condition, 1.0, "ddpm", 2, model)
    torch.testing.assert_close(found[0], torch.from_numpy(x).float(), rtol=1e-3, atol=1e-3)


def test_more_ids_than_a_batch_holds_and_too_few_prompts():
    ids = [f"q-{i}" for i in range(BATCH_SIZE + 2)]
    condition = normal(3, len(ids), 5, 8)
    found = generated(ids, condition, 1.0, steps=10, denoiser=OneLatent())
    torch.testing.assert_close(found[:, 0, 0, 0], condition[:, 0, 0], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="65 prompts for 66 ids"):
        generated(ids, condition[1:], 1.0)


def test_a_small_gpu_takes_a_batch_in_parts_with_each_latents_own_prompt(capsys):
    shown = []

    class Small(OneLatent):
        def predict_noise(self, x_t, t, condition):
            if len(x_t) > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
            shown.append(len(x_t))
            return super().predict_noise(x_t, t, condition)

    ids = [f"q-{i}" for i in range(BATCH_SIZE + 2)]
    condition = normal(3, len(ids), 5, 8)
    whole = generated(ids, condition, 2.5, denoiser=OneLatent())
    torch.testing.assert_close(generated(ids, condition, 2.5, denoiser=Small()), whole)
    # Two batches of two steps, each of them with the prompt and without, sixteen at a time.
    assert shown == 2 * 2 * 2 * (BATCH_SIZE // 16) * [16]
    assert capsys.readouterr().err.count("out of GPU memory") == 2


# --- scores of latents -------------------------------------------------------------------------------


def test_terms_of_latents_do_not_depend_on_the_batch_and_each_has_its_prompt():
    denoiser, latents, condition, steps = text_denoiser(), 3 * normal(0, 3, 4, 8, 8), prompts(3), T.numpy()
    whole = kl_terms(denoiser.conditioned_on(condition), latents, IDS, steps, 0, 16)
    for size in (1, 4):
        parts = kl_terms(denoiser.conditioned_on(condition), latents, IDS, steps, 0, size)
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=0)
    reordered = kl_terms(denoiser.conditioned_on(condition[[2, 0]]), latents[[2, 0]], ["c", "a"], steps, 0, 16)
    torch.testing.assert_close(reordered, whole[[2, 0]], rtol=1e-4, atol=0)
    others = kl_terms(denoiser.conditioned_on(condition[[1, 0, 2]]), latents, IDS, steps, 0, 16)
    assert not torch.allclose(others[:2], whole[:2])


def test_terms_of_latents_by_hand():
    denoiser, latents, condition = text_denoiser(), 3 * normal(0, 1, 4, 8, 8), prompts(1)
    a = denoiser.schedule.alphas_cumprod
    e = torch.from_numpy(gaussian(5, "a", 300, (4, 8, 8)))
    with torch.no_grad():
        x_t = a[300] ** 0.5 * latents + (1 - a[300]) ** 0.5 * e
        error = (e - denoiser.unet(x_t.float(), 300, encoder_hidden_states=condition).sample).square().sum()
    expected = (a[299] / (1 - a[299]) / (a[300] / (1 - a[300])) - 1) / 2 * error.item()
    found = kl_terms(denoiser.conditioned_on(condition), latents, ["a"], T.numpy()[[1]], 5, 16)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_a_condition_for_every_image_is_asked_for():
    with pytest.raises(ValueError, match="2 conditions for 3 images"):
        kl_terms(text_denoiser().conditioned_on(prompts(2)), normal(0, 3, 4, 8, 8), IDS, T.numpy(), 0, 16)
