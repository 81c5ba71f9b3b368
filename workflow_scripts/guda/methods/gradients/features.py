"""Projected per-sample gradients of a function of the network's output, as compared by TRAK, D-TRAK and DAS."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from guda.core.device import Batches
from guda.core.progress import track
from guda.core.seeding import gaussian
from guda.data.pixels import to_network_range
from guda.data.training_set import TrainingSet
from guda.methods.gradients.plan import GRADIENTS, GradientsSpec, PartialGradientsSpec
from guda.methods.gradients.projection import Projection
from guda.methods.parameters import matching
from guda.models.denoisers import UNetDenoiser, add_adapters

COMMON = "every image"  # replaces the id if the noise is shared
PARAMETERS = "attribution, `parameters` of trak, dtrak or das"
Function = Callable[[Tensor, Tensor], Tensor]


def loss(prediction: Tensor, noise: Tensor) -> Tensor:
    """TRAK for diffusion models: the denoising loss ||e - e_theta||^2 divided by the number of pixels."""
    return (noise - prediction).square().mean()


def squared_output(prediction: Tensor, noise: Tensor) -> Tensor:
    """D-TRAK (arXiv 2311.00500): ||e_theta||^2 divided by the number of pixels; ignores the noise."""
    return prediction.square().mean()


def mean_output(prediction: Tensor, noise: Tensor) -> Tensor:
    """DAS (arXiv 2410.18639): the mean of e_theta over pixels."""
    return prediction.mean()


FUNCTIONS: dict[str, Function] = {"loss": loss, "squared_output": squared_output, "mean_output": mean_output}


def projected_gradients(
    denoiser: UNetDenoiser, samples: TrainingSet, spec: GradientsSpec, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Projected gradients of f, averaged over diffusion steps, float32 [n, d]; and residuals, float32 [n].

    phi_i = P^T mean_t g_it, where g_it is the gradient of f(e_theta(x_t, t), e) of image i with respect to the weights,
    at one noise e per (seed, step), or with `own_noise` per (seed, id, step). With `normalize`, each g_it is scaled to
    length 1 before averaging. The residual is the root mean square of e - e_theta, averaged over steps.

    Gradients are taken of all weights, or of those that a `PartialGradientsSpec` names, in a copy of the network with
    new adapters if it asks for them. Images with captions are conditioned on their first one. The digests of the spec
    are ignored. At most `batch_size` evaluations run at a time. Raises ConfigError for an expression that matches no
    weight's name.
    """
    x, ids = to_network_range(samples.images), samples.ids
    denoiser, patterns = _differentiated(denoiser, spec)
    output = _Output(denoiser, FUNCTIONS[spec.function])
    parameters = dict(denoiser.unet.named_parameters())
    chosen = matching(list(parameters), patterns, PARAMETERS)
    weights = {f"denoiser.unet.{name}": parameters[name].detach() for name in chosen}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    projection = Projection(shapes, spec.projection_dim, spec.seed, denoiser.device)
    each = (0, 0, 0) if samples.captions is None else (0, 0, 0, 0)
    gradients = vmap(grad(_value, argnums=1, has_aux=True), in_dims=(None, None, *each))
    # The gradient of the mean over steps takes one backward pass; normalizing each gradient takes one per step.
    parts = [[step] for step in spec.steps] if spec.normalize else [spec.steps]
    rows = [(row, part) for row in range(len(x)) for part in parts]

    def noise_of(row: int, step: int) -> np.ndarray:
        return gaussian(spec.seed, ids[row] if spec.own_noise else COMMON, step, tuple(x.shape[1:]))

    def projected(batch: Sequence[tuple[int, list[int]]]) -> tuple[Tensor, Tensor]:
        noise = np.stack([[noise_of(row, step) for step in part] for row, part in batch])
        of_batch = [row for row, _ in batch]
        drawn = [x[of_batch], torch.from_numpy(noise), torch.tensor([part for _, part in batch])]
        conditions = samples.conditions(of_batch)
        drawn += [] if conditions is None else [conditions]
        # no_grad: other weights need no graph. MATH: the attention kernel that supports vmap over samples.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            found, residual = gradients(output, weights, *(tensor.to(denoiser.device) for tensor in drawn))
        phi = projection(found)
        if spec.normalize:
            phi /= sum(gradient.flatten(1).square().sum(1) for gradient in found.values()).sqrt()[:, None]
        return phi.cpu(), residual.cpu()

    phi, residuals = torch.zeros(len(x), projection.dim), torch.zeros(len(x))
    n_weights = sum(weight.numel() for weight in weights.values())
    size = max(1, min(batch_size // len(parts[0]), GRADIENTS // n_weights))
    batches, starts, done = Batches(size), range(0, len(rows), size), 0
    for start in track(starts, "batches of gradients", len(starts)):
        for part, residual in batches.run(projected, rows[start : start + size]):
            of_images = torch.tensor([row for row, _ in rows[done : done + len(part)]])
            phi.index_add_(0, of_images, part / len(parts))
            residuals.index_add_(0, of_images, residual / len(parts))
            done += len(part)
    return phi.numpy(), residuals.numpy()


def _differentiated(denoiser: UNetDenoiser, spec: GradientsSpec) -> tuple[UNetDenoiser, list[str] | None]:
    """The network to differentiate, and expressions for the names of the weights; None: all."""
    if not isinstance(spec, PartialGradientsSpec):
        return denoiser, None
    if spec.lora_rank is not None:
        denoiser = copy.deepcopy(denoiser)
        add_adapters(denoiser, spec.lora_rank, spec.lora_rank, spec.seed)
    return denoiser, spec.parameters


class _Output(torch.nn.Module):
    """f and the residual of one image, both averaged over its diffusion steps."""

    def __init__(self, denoiser: UNetDenoiser, function: Function):
        super().__init__()
        self.denoiser, self.function = denoiser, function

    def forward(self, clean: Tensor, noise: Tensor, t: Tensor, prompt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`clean` [C, H, W], `noise` [S, C, H, W], `t` int64 [S]; `prompt` [L, D] is the image's prompt embedding."""
        condition = None if prompt is None else prompt.expand(len(t), *prompt.shape)
        prediction = self.denoiser.predict_noise(self.denoiser.add_noise(clean, noise, t), t, condition)
        residual = (noise - prediction).square().flatten(1).mean(1).sqrt().mean()
        return self.function(prediction, noise), residual


def _value(output: _Output, weights: dict[str, Tensor], *drawn: Tensor) -> tuple[Tensor, Tensor]:
    return functional_call(output, weights, drawn)
