"""Section `text_to_image.small_pipeline`: how a small pipeline is made and pretrained."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from guda.config.section import Fraction, Section, Seed
from guda.config.training import Optimization, Training


class AutoencoderTraining(Optimization):
    """Training of the autoencoder, on all images."""

    steps: PositiveInt = Field(2000, description="Optimizer steps.")
    batch_size: PositiveInt = Field(16, description="Images per step.")
    learning_rate: PositiveFloat = Field(2.5e-3, description="Peak learning rate of AdamW.")
    kl_weight: float = Field(
        1.0e-3,
        ge=0,
        description="Weight of the KL divergence of the latents from a standard normal, relative to the squared "
        "reconstruction error.",
    )


class TextTraining(Optimization):
    """Training of the text encoder, to tell the words of a prompt, on all prompts."""

    steps: PositiveInt = Field(400, description="Optimizer steps.")
    learning_rate: PositiveFloat = Field(2.0e-3, description="Peak learning rate of AdamW.")


class Pretraining(Training):
    """Training of the UNet, on the pretraining styles."""

    steps: PositiveInt = Field(800, description="Optimizer steps.")
    learning_rate: PositiveFloat = Field(3.0e-3, description="Peak learning rate of AdamW.")
    ema_decay: Fraction = Field(
        0.995,
        description="Decay of the exponential moving average of the weights, which is what is saved; 0 saves the raw "
        "weights.",
    )
    prompt_dropout: Fraction = Field(
        0.1, description="Fraction of prompts replaced by the empty prompt, which guidance needs."
    )


class SmallPipeline(Section):
    """A pipeline of Stable Diffusion's kind for color images of a few dozen pixels, made on a CPU in minutes."""

    seed: Seed = Field(0, description="Random seed of initial weights, shuffling and noise.")
    styles: list[str] = Field(
        [],
        description="Styles the UNet is pretrained on, by their names in the training table; []: all. The autoencoder"
        " is trained on all images, the text encoder on the words of all prompts.",
    )
    vae_channels: list[PositiveInt] = Field(
        [16, 32, 32],
        min_length=1,
        description="Channels at each resolution of the autoencoder, finest first; each one after the first halves "
        "the image.",
    )
    latent_channels: PositiveInt = Field(4, description="Channels of the latents.")
    prompt_length: PositiveInt = Field(24, ge=3, description="Tokens per prompt, including start and end.")
    embedding_dim: PositiveInt = Field(64, description="Width of the text encoder.")
    text_layers: PositiveInt = Field(2, description="Layers of the text encoder.")
    unet_channels: list[PositiveInt] = Field(
        [32, 64], min_length=1, description="Channels at each resolution of the UNet, finest first."
    )
    layers_per_block: PositiveInt = Field(1, description="Residual layers per resolution of autoencoder and UNet.")
    attention_heads: PositiveInt = Field(4, description="Heads of every attention layer.")
    norm_num_groups: PositiveInt = Field(8, description="Groups of the group normalization.")
    autoencoder: AutoencoderTraining = Field(AutoencoderTraining(), description="Training of the autoencoder.")
    text_encoder: TextTraining = Field(TextTraining(), description="Training of the text encoder.")
    pretraining: Pretraining = Field(Pretraining(), description="Pretraining of the UNet; other keys as in `training`.")

    @model_validator(mode="after")
    def _channels_divide(self) -> SmallPipeline:
        for key in ("vae_channels", "unet_channels"):
            for channels in getattr(self, key):
                if channels % self.norm_num_groups:
                    raise ValueError(
                        f"{key}: {channels} is no multiple of norm_num_groups {self.norm_num_groups}; "
                        "change one of them"
                    )
        for channels in [self.embedding_dim, *self.unet_channels]:
            if channels % self.attention_heads:
                raise ValueError(
                    f"{channels} channels (embedding_dim, unet_channels) are no multiple of attention_heads "
                    f"{self.attention_heads}; change one of them"
                )
        return self
