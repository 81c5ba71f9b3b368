"""The smallest whole pipeline of Stable Diffusion's kind: random networks."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from guda import config
from guda.models.stable_diffusion.pipeline import Pipeline, save_pipeline
from guda.models.stable_diffusion.tokenizer import new_tokenizer
from guda.specs import Spec

TEXTS = ["a digit with neon lines", "a digit with ink", "glowing"]
PROCESS = config.NoiseSchedule(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
SIZES = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4}


class AnySpec(Spec):
    stage = "any"
    version = 1


def new_pipeline():
    """Images of 3x16x16, latents of 4x8x8, prompts of 8 tokens, embeddings of 16; and its UNet."""
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = new_tokenizer(TEXTS, 8)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            sample_size=16,
            **SIZES,
        )
        unet = UNet2DConditionModel(
            sample_size=8,
            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
            cross_attention_dim=16,
            attention_head_dim=2,
            **SIZES,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(**shape, **tokens, vocab_size=len(tokenizer), max_position_embeddings=8)
        )
    return Pipeline(vae.eval(), text_encoder.eval(), tokenizer, PROCESS.model_dump()), unet


def write_pipeline(folder):
    pipeline, unet = new_pipeline()
    save_pipeline(folder, pipeline, unet, AnySpec())
    return folder
