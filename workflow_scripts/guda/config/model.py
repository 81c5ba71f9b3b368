"""Sections `model`, `unet` and `noise_schedule`: the denoising network and its diffusion process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from guda.config.section import Fraction, Section

# Of diffusers' blocks, those that work in a network of the arguments that `UNet` has.
DownBlock = Literal["DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"]
UpBlock = Literal["UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"]


class Model(Section):
    pretrained: str | None = Field(
        None,
        description="A trained model to take as the base: a diffusers folder, or a hub id OWNER/NAME@COMMIT. "
        "null: the base is trained.",
    )


class UNet(Section):
    """Arguments of diffusers' `UNet2DModel` under their own names; size and channels come from the images."""

    block_out_channels: list[PositiveInt] = Field(
        [16, 32], min_length=1, description="Channels of each resolution, finest first."
    )
    layers_per_block: PositiveInt = Field(1, description="Residual layers per resolution.")
    down_block_types: list[DownBlock] = Field(["DownBlock2D", "DownBlock2D"], description="One per resolution.")
    up_block_types: list[UpBlock] = Field(["UpBlock2D", "UpBlock2D"], description="One per resolution, coarsest first.")
    add_attention: bool = Field(False, description="Self-attention in the middle block.")
    attention_head_dim: PositiveInt = Field(8, description="Channels per attention head.")
    norm_num_groups: PositiveInt = Field(8, description="Groups of the group normalisation.")
    dropout: Fraction = Field(0.0, description="Dropout inside the residual layers.")

    @model_validator(mode="after")
    def _consistent(self) -> UNet:
        n = len(self.block_out_channels)
        for key in ("down_block_types", "up_block_types"):
            if len(getattr(self, key)) != n:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} entries, block_out_channels has {n}; give one each"
                )
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(
                    f"block_out_channels: {channels} is no multiple of norm_num_groups {self.norm_num_groups}; "
                    "change one of them"
                )
        finest_first = [*zip(self.block_out_channels, self.down_block_types, strict=True)]
        coarsest_first = [*zip(reversed(self.block_out_channels), self.up_block_types, strict=True)]
        attended = [channels for channels, block in finest_first + coarsest_first if block.startswith("Attn")]
        attended += [self.block_out_channels[-1]] if self.add_attention else []
        if attended and min(attended) < self.attention_head_dim:
            raise ValueError(
                f"attention_head_dim is {self.attention_head_dim}, but self-attention stands at a resolution of "
                f"{min(attended)} channels; use {min(attended)} or less"
            )
        return self


class NoiseSchedule(Section):
    num_train_timesteps: PositiveInt = Field(1000, description="Diffusion steps T.")
    beta_schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = Field(
        "squaredcos_cap_v2", description="As in diffusers; squaredcos_cap_v2 is the cosine schedule."
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = Field(
        "epsilon", description="What the network predicts: the noise, the velocity, or the clean image."
    )
