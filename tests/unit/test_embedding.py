"""Features of images and their similarity."""

import json

import numpy as np
import pytest
import torch
from text_experiments import text_experiment
from text_inputs import LATENTS, prompts, text_denoiser

from guda.attribution import get_method
from guda.attribution.embedding import unit_vectors
from guda.denoisers import new_denoiser
from guda.errors import ArtifactError, ConfigError
from guda.features import denoiser_features, load_vision_model, vision_features
from guda.imported_models import vision_digest
from guda.noise import gaussian
from guda.paths import BASE, TRAINING

IDS = [f"i{index}" for index in range(12)]


def test_unit_vectors_keep_the_direction_and_leave_zeros():
    np.testing.assert_allclose(unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


def test_features_are_all_positions_of_the_middle_block(denoiser, images):
    """Two resolutions: 8 channels of 4x4 positions."""
    assert denoiser_features(denoiser, images, IDS, 20, 0, 12).shape == (12, 8 * 4 * 4)


def test_features_depend_on_image_id_seed_and_step_alone(denoiser, images):
    whole = denoiser_features(denoiser, images, IDS, 20, 0, 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = denoiser_features(denoiser, images[order], [IDS[row] for row in order], 20, 0, 5)
    torch.testing.assert_close(shuffled, whole[order], rtol=1e-4, atol=1e-5)
    for step, seed in ((21, 0), (20, 1)):
        assert not torch.allclose(denoiser_features(denoiser, images, IDS, step, seed, 12), whole, atol=1e-3)


def test_features_leave_the_network_as_it_was(denoiser, images):
    denoiser_features(denoiser, images, IDS, 20, 0, 12)
    assert not denoiser.unet.mid_block._forward_hooks


def test_a_text_to_image_network_sees_latents_and_one_prompt_for_all():
    denoiser, prompt = text_denoiser(), prompts(1)[0]
    found = denoiser_features(denoiser, LATENTS, IDS[:8], 20, 3, 5, prompt)
    at, noise = torch.tensor([20]), torch.from_numpy(gaussian(3, "i6", 20, (4, 8, 8)))[None]
    outputs = []
    denoiser.unet.mid_block.register_forward_hook(lambda block, inputs, output: outputs.append(output))
    with torch.no_grad():
        denoiser.predict_noise(denoiser.add_noise(LATENTS[[6]], noise, at), at, prompt[None])
    assert found.shape == (8, 16 * 4 * 4)
    torch.testing.assert_close(found[6], outputs[0].flatten(), rtol=1e-4, atol=1e-5)
    other = denoiser_features(denoiser, LATENTS, IDS[:8], 20, 3, 5, prompts(1, seed=11)[0])
    assert not torch.allclose(other, found, atol=1e-3)


def test_a_network_without_a_middle_block_is_refused():
    with pytest.raises(ArtifactError, match=r"no middle block; name a model in attribution\.embedding\.model"):
        denoiser_features(text_denoiser(mid_block_type=None), LATENTS, IDS[:8], 20, 0, 4, prompts(1)[0])


def test_the_base_model_of_texts_sees_encoded_samples_and_a_vision_model_pixels(vit):
    of = text_experiment(methods=["embedding"], unet={"mid_block_type": None})
    by_vision = text_experiment(methods=["embedding"], attribution={"embedding": {"model": str(vit)}})
    for samples in (TRAINING, "bucket-0000"):
        spec = get_method("embedding").features_spec(of, samples)
        assert (spec.model, spec.images) == (of.model_digest(BASE), of.encoded_spec(samples).digest())
        assert get_method("embedding").features_spec(by_vision, samples).images == of.pixels_digest(samples)


def test_the_denoiser_and_transformers_live_in_one_process(tiny_unet, schedule):
    """Making a denoiser hides transformers from diffusers while that is imported, and from nothing else."""
    new_denoiser(tiny_unet, schedule, (1, 8, 8))
    from transformers import AutoModel

    assert AutoModel


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A tiny vision transformer in a folder, as save_pretrained writes it."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    ViTModel(ViTConfig(**shape, image_size=16, patch_size=8)).save_pretrained(folder)
    scaling = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = {"image_processor_type": "ViTImageProcessor", **scaling}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_vision_model_sees_grey_images_in_colour_and_scaled(vit):
    """An image of one grey value is that value everywhere at any size: its pixel values are known by hand."""
    model, processor = load_vision_model(vit, "key")
    images = torch.tensor([51, 204], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 8, 8)
    pixels = torch.tensor([-0.6, 0.6])[:, None, None, None].expand(2, 3, 16, 16)
    with torch.no_grad():
        expected = model(pixel_values=pixels).pooler_output
    for batch_size in (1, 2):
        found = vision_features(model, processor, images, batch_size, torch.device("cpu"))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_digest_of_a_vision_model_is_of_its_weights_and_settings(vit, tmp_path):
    before = vision_digest(str(vit), "key")
    for file in vit.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert vision_digest(str(tmp_path), "key") == before
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert vision_digest(str(tmp_path), "key") != before


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_name(vit, tmp_path, missing):
    for file in vit.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ArtifactError, match=missing if missing.endswith("json") else r"\*\.safetensors"):
        vision_digest(str(tmp_path), "attribution.embedding.model")


def test_what_is_neither_folder_nor_pinned_hub_id_is_refused():
    with pytest.raises(ConfigError, match=r"attribution\.embedding\.model: 'openai/clip' is no folder"):
        vision_digest("openai/clip", "attribution.embedding.model")
