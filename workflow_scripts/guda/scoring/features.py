"""Features of images, for similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from guda.core.device import Batches
from guda.core.errors import ArtifactError
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.data.pixels import to_network_range
from guda.models.checkpoints.weights import APART, built, transformers_model
from guda.models.denoisers import Denoiser
from guda.models.imported import check_vision_model

POOLER = "pooler"  # name of the layers of transformers models that compute the pooled output

if TYPE_CHECKING:
    from jaxtyping import Float, Num
    from transformers import PreTrainedModel
    from transformers.image_processing_utils import BaseImageProcessor
    from transformers.utils import ModelOutput


@torch.no_grad()
def denoiser_features(
    denoiser: Denoiser, images: Num[Tensor, "n c h w"], ids: list[str], step: int, seed: int, batch_size: int
) -> Float[Tensor, "n d"]:
    """Output of the denoiser's middle block at a diffusion step, flattened, float32 [n, channels * height * width].

    `images` uint8 [n, C, H, W], or latents; one noise per (seed, id, step), as for ELBO terms. Positions are not
    pooled, since pooled features of small networks carry too little information. A text-to-image network is conditioned
    on one prompt per image. Raises ArtifactError for a network without a middle block.
    """
    if denoiser.unet.mid_block is None:
        raise ArtifactError("the base model has no middle block; name a model in attribution.embedding.model")
    x, found = to_network_range(images), []
    hook = denoiser.unet.mid_block.register_forward_hook(lambda block, inputs, output: found.append(output))

    def features(rows: Sequence[int]) -> Tensor:
        found.clear()
        drawn = np.stack([gaussian(seed, ids[row], step, tuple(x.shape[1:])) for row in rows])
        clean, noise = x[list(rows)].to(denoiser.device), torch.from_numpy(drawn).to(denoiser.device)
        t = torch.full((len(rows),), step, device=denoiser.device)
        denoiser.of(rows).predict_noise(denoiser.add_noise(clean, noise, t), t)
        return found[0].float().flatten(1).cpu()

    try:
        return _in_batches(features, len(x), batch_size)
    finally:
        hook.remove()


def load_vision_model(folder: Path, key: str) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """A transformers vision model and its image processor. `key` names the setting in errors.

    Weights are read only from safetensors, and no code in the folder is run. If only the weights of the pooled output
    are missing, the model is loaded without it. Raises ArtifactError for a folder that transformers cannot read.
    """
    from transformers import AutoConfig, AutoImageProcessor, AutoModel

    found, kind = check_vision_model(folder, key), "vision model of transformers"
    settings = built(lambda: AutoConfig.from_pretrained(folder, **APART), kind, folder, key)
    with torch.device("meta"):  # instantiates the class without weights
        empty = built(lambda: AutoModel.from_config(settings, trust_remote_code=False), kind, folder, key)
    model, lacking = transformers_model(type(empty), settings, found, key)
    for tensor in lacking:
        if not tensor.startswith(f"{POOLER}."):
            raise ArtifactError(f"{key}: the weights in {folder} lack tensor {tensor!r}; save the whole model")
    if lacking:
        print("the weights lack a pooled output; features are means over the patches", flush=True)
        setattr(model, POOLER, None)
    processor = built(lambda: AutoImageProcessor.from_pretrained(folder, **APART), kind, folder, key)
    # A text model, or the preprocessor of another model, only fails when used.
    probe = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with torch.no_grad():
        output = built(lambda: _output(model, processor, probe), kind, folder, key)
    if not hasattr(output, "pooler_output"):
        raise ArtifactError(f"{key}: {folder} holds a {type(model).__name__}, which has no pooled output; give another")
    return model, processor


@torch.no_grad()
def vision_features(
    model: PreTrainedModel, processor: BaseImageProcessor, images: Tensor, batch_size: int, device: torch.device
) -> Tensor:
    """One feature vector per image from a transformers vision model, float32 [n, d], for uint8 images [n, C, H, W].

    The projected image embedding of image-text models such as CLIP, else the pooled output, else the mean over patches.
    Images are scaled and normalized by the model's own preprocessor; gray images are converted to RGB.
    """
    model.to(device)

    def features(rows: Sequence[int]) -> Tensor:
        output = _output(model, processor, images[list(rows)])
        pooled = output.pooler_output
        return (output.last_hidden_state.mean(1) if pooled is None else pooled).float().flatten(1).cpu()

    return _in_batches(features, len(images), batch_size)


def _output(model: PreTrainedModel, processor: BaseImageProcessor, images: Tensor) -> ModelOutput:
    pictures = [_picture(image) for image in images]
    embed = getattr(model, "get_image_features", model)
    return embed(**processor(images=pictures, return_tensors="pt").to(model.device))


def _picture(image: Tensor) -> Image.Image:
    """A uint8 image [1 or 3, H, W] as an RGB PIL image."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def _in_batches(features: Callable[[Sequence[int]], Tensor], n: int, batch_size: int) -> Tensor:
    batches, starts, parts = Batches(batch_size), range(0, n, batch_size), []
    for start in track(starts, "feature batches", len(starts)):
        parts += batches.run(features, range(start, min(start + batch_size, n)))
    return torch.cat(parts)
