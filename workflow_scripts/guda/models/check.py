"""Checks that a model's files hold the network that its spec describes.

Checksums find damage, but not another network put in place of this one with matching checksums. Therefore the network
is built from the spec and from what else the job knows, without memory for its weights, and compared with the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from guda.core.artifacts import check_tensors, load_tensors, read_json, tensor_shapes
from guda.core.errors import ArtifactError
from guda.core.paths import ADAPTER, CONFIG, WEIGHTS
from guda.models.classifier import GroupClassifier, classifier_settings
from guda.models.denoisers import new_denoiser
from guda.models.denoisers.adapters import check_adapters
from guda.models.denoisers.folders import read_network
from guda.models.denoisers.text_unet import NETWORK
from guda.models.noise_schedule import NoiseSchedule
from guda.models.stable_diffusion.folder import PIPELINE_KEY, fetched_pipeline
from guda.specs import ClassifierSpec, ConditionalSpec, ModelSpec, TrainSpec

Shape = tuple[int, ...]
Check = Callable[[Path], None]


class Origin(NamedTuple):
    """What a job knows, besides the spec, that determines its model's network."""

    images: str = ""  # file of the training images, or of their latents
    base: str = ""  # folder of the base model
    pipeline: str = ""  # folder or hub id of the pipeline whose network is fine-tuned


def model_check(spec: ModelSpec, origin: Origin) -> Check:
    """A function of a folder that raises ArtifactError unless a job of this spec could have written its files.

    If the origin does not determine the images' shape, or the network of a spec without one, the folder's own
    config.json does, and only the tensors are compared with it. Raises ArtifactError for an unreadable origin.
    """
    with torch.device("meta"):
        shape = _image_shape(origin.images)
        base = read_network(Path(origin.base) / CONFIG) if origin.base else None
        if adapters := spec.adapters:
            return lambda folder: _check_adapters(folder, adapters, base)
        if isinstance(spec, ClassifierSpec):
            return lambda folder: _check_classifier(folder, spec, shape)
        if isinstance(spec, (TrainSpec, ConditionalSpec)):
            return lambda folder: _check_denoiser(folder, lambda own: _network_of(spec, shape or own))
        network = _pretrained(origin.pipeline, shape) or base
        return lambda folder: _check_denoiser(folder, lambda own: network)


def _check_denoiser(folder: Path, wanted: Callable[[Shape], Any]) -> None:
    """`wanted` gives the network for images of the shape in the folder's config.json; None means its own network."""
    file = folder / CONFIG
    with torch.device("meta"):
        found = read_network(file)
        size = found.config.sample_size
        own = found.config.in_channels, *(size if isinstance(size, (list, tuple)) else (size, size))
        _check_shape(file, own)
        network = wanted(own) or found
    _compare(file, _settings(found), _settings(network))
    check_tensors(folder / WEIGHTS, load_tensors(folder / WEIGHTS)[0], network.state_dict())


def _check_classifier(folder: Path, spec: ClassifierSpec, shape: Shape | None) -> None:
    file = folder / CONFIG
    found = read_json(file)
    if not isinstance(found, dict):
        raise ArtifactError(f"{file}: not the settings of a classifier")
    own: Any = shape or found.get("image_shape")
    _check_shape(file, own)
    _compare(file, found, classifier_settings(spec.unet, own, list(spec.members)))
    with torch.device("meta"):
        schedule = NoiseSchedule.from_config(spec.noise_schedule)
        network = GroupClassifier(spec.unet, schedule, own, len(spec.members))
    check_tensors(folder / WEIGHTS, load_tensors(folder / WEIGHTS)[0], network.state_dict())


def _check_adapters(folder: Path, expected: tuple[int, int], base: torch.nn.Module | None) -> None:
    if base is not None:
        file = folder / ADAPTER
        found = check_adapters(file, *load_tensors(file), base)
        if found != expected:
            raise ArtifactError(f"{file}: its adapters have rank and alpha {found}, not those of the configuration")


def _network_of(spec: TrainSpec | ConditionalSpec, shape: Shape) -> torch.nn.Module:
    labels = len(spec.members) + 1 if isinstance(spec, ConditionalSpec) else None
    return new_denoiser(spec.unet, NoiseSchedule.from_config(spec.noise_schedule), shape, labels).unet


def _pretrained(pipeline: str, shape: Shape | None) -> Any:
    """The network of a pipeline for latents of this shape; None if none of its config.json files describes it."""
    file = fetched_pipeline(pipeline, PIPELINE_KEY) / "unet" / CONFIG if pipeline else None
    if file is None or not file.is_file():
        return None
    network = read_network(file, NETWORK)
    if shape is not None:
        height, width = shape[1:]
        network.register_to_config(sample_size=height if height == width else [height, width])
    return network


def _image_shape(file: str) -> Shape | None:
    """The [C, H, W] of the images or latents in a file."""
    if not file:
        return None
    shapes = tensor_shapes(file)
    return shapes["images" if "images" in shapes else "latents"][1:]


def _check_shape(file: Path, shape: Any) -> None:
    numbers = shape if isinstance(shape, (list, tuple)) else []
    if len(numbers) != 3 or not all(isinstance(number, int) and number > 0 for number in numbers):
        raise ArtifactError(f"{file}: its images have channels, height and width {shape}")


def _settings(unet: Any) -> dict[str, Any]:
    """The settings in a network's config.json, without the version that wrote it and its origin."""
    values = json.loads(unet.to_json_string())
    return {name: value for name, value in values.items() if name == "_class_name" or not name.startswith("_")}


def _compare(file: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise ArtifactError(
                f"{file}: {name} is {found.get(name)!r}, but this model's network has {wanted.get(name)!r}"
            )
