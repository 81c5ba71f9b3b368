"""A small pipeline, made from scratch on images of two colors."""

import pytest
import torch
from pipelines import PROCESS, AnySpec

from guda.config.pipeline import SmallPipeline
from guda.models.stable_diffusion.pipeline import (
    decode_latents,
    encode_latents,
    encode_prompts,
    load_pipeline,
    save_pipeline,
)
from guda.training.small_pipeline import make_small_pipeline
from guda.training.state import Execution, TrainingState

COLORS = {"red": (220, 30, 40), "blue": (40, 60, 230)}
TINY = {"vae_channels": [8, 8], "unet_channels": [8, 8], "embedding_dim": 8, "text_layers": 1, "prompt_length": 6}
TINY |= {"attention_heads": 2, "norm_num_groups": 4}
AUTOENCODER = {"steps": 40, "batch_size": 8, "learning_rate": 2e-2, "warmup_steps": 5}
PRETRAINING = {"steps": 6, "batch_size": 8, "warmup_steps": 1, "ema_decay": 0.5}
TEXT = {"steps": 60, "batch_size": 4, "learning_rate": 2e-2, "warmup_steps": 5}
SETTINGS = SmallPipeline(**TINY, autoencoder=AUTOENCODER, text_encoder=TEXT, pretraining=PRETRAINING)
IDS = [f"i{row}" for row in range(16)]
ROWS = torch.arange(0, 16, 2)


class CutOffError(Exception):
    pass


class Leaving(TrainingState):
    """Ends the process, as it were, at the second saved state."""

    def save(self, step, tensors):
        super().save(step, tensors)
        if step >= 2 * self.interval:
            raise CutOffError


@pytest.fixture(scope="module")
def colored():
    """Sixteen plain images of 3x8x8 in two colors, each a little other, with two prompts each."""
    generator = torch.Generator().manual_seed(0)
    colors = torch.tensor(list(COLORS.values()) * 8)[:, :, None, None].expand(16, 3, 8, 8)
    images = colors + torch.randint(-20, 20, (16, 1, 1, 1), generator=generator)
    prompts = [[f"{name} square", f"a {name} one"] for name in COLORS] * 8
    return images.to(torch.uint8), prompts


@pytest.fixture(scope="module")
def made(colored):
    return make_small_pipeline(colored[0], IDS, colored[1], ROWS, SETTINGS, PROCESS)


def saved_bytes(folder, pipeline, unet):
    save_pipeline(folder, pipeline, unet, AnySpec())
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_autoencoder_gives_images_back(made, colored):
    """Of 256 levels, the mean of both colors is 67 away on average."""
    pipeline, _, _ = made
    images = colored[0]
    latents = encode_latents(pipeline.vae, images, [""] * 16, "mean", 0, 16)
    assert latents.shape == (16, 4, 4, 4)
    difference = decode_latents(pipeline.vae, latents, 16).float() - images.float()
    assert difference.abs().mean() < 17


def test_scaled_latents_have_deviation_one(made, colored):
    latents = encode_latents(made[0].vae, colored[0], [""] * 16, "mean", 0, 16)
    assert latents.std().item() == pytest.approx(1, abs=1e-3)


def test_the_tokenizer_knows_words_of_images_that_are_not_trained_on(made):
    assert made[0].tokenizer.tokenize("a blue one") == ["a</w>", "blue</w>", "one</w>"]
    embeddings, _ = encode_prompts(made[0], ["blue square", "red square"], 2)
    assert embeddings.shape == (2, 6, 8)


def test_evaluations_are_counted(made):
    """Forward and backward, three a sample, in three trainings."""
    assert made[2] == 3 * (8 * 40 + 4 * 60 + 8 * 6)


def test_making_it_again_after_interruptions_gives_the_same_bytes(made, colored, tmp_path):
    """The first run is cut off in the first training, the second in the second."""
    kept = {tmp_path / "autoencoder": 15, tmp_path / "pretraining": 2}
    whole = [TrainingState(folder, AnySpec(), interval) for folder, interval in kept.items()]
    cut = [Leaving(folder, AnySpec(), interval) for folder, interval in kept.items()]
    task = colored[0], IDS, colored[1], ROWS, SETTINGS, PROCESS
    for first, second in ((cut[0], whole[1]), (whole[0], cut[1])):
        with pytest.raises(CutOffError):
            make_small_pipeline(*task, (Execution(first), Execution(second)))
    pipeline, unet, _ = make_small_pipeline(*task, (Execution(whole[0]), Execution(whole[1])))
    expected = saved_bytes(tmp_path / "expected", made[0], made[1])
    assert saved_bytes(tmp_path / "found", pipeline, unet) == expected


def test_a_saved_small_pipeline_embeds_as_before(made, tmp_path):
    save_pipeline(tmp_path, made[0], made[1], AnySpec())
    read = load_pipeline(tmp_path, "key")
    for before, after in zip(*(encode_prompts(each, ["a blue one", ""], 2) for each in (made[0], read)), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_pooled_outputs_are_as_near_as_prompts_share_words(made):
    """Two prompts of one color share "red", two of one form "a" and "one" or "square", the last pair nothing."""
    _, pooled = encode_prompts(made[0], ["red square", "a red one", "blue square", "a blue one"], 4)
    cosines = torch.nn.functional.cosine_similarity(pooled[:1], pooled[1:])
    assert cosines[0] > cosines[2] and cosines[1] > cosines[2]


def test_channels_must_divide():
    with pytest.raises(ValueError, match="vae_channels: 12 is no multiple of norm_num_groups 8"):
        SmallPipeline(vae_channels=[12])
    with pytest.raises(ValueError, match="are no multiple of attention_heads 3"):
        SmallPipeline(attention_heads=3)
