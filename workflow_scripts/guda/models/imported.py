"""Models that others trained: diffusers folders and hub ids, taken as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guda.config import Data, NoiseSchedule, UNet
from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError, ConfigError
from guda.core.hub import FORM, HUB_ID, downloaded
from guda.core.paths import CONFIG
from guda.models.checkpoints.files import (
    DIFFUSERS,
    TRANSFORMERS,
    Checkpoint,
    check_shapes,
    found_checkpoint,
    read_headers,
    read_object,
    single_file_advice,
    weights_alone,
)
from guda.models.checkpoints.settings import UNET_DEFAULTS, differing_network, differing_process, refuse
from guda.models.checkpoints.tensors import tensors_of_unet
from guda.specs import digest

if TYPE_CHECKING:
    from guda.plan.config import Config

NETWORK = "UNet2DModel"
INDEX = "model_index.json"
PREPROCESSOR = "preprocessor_config.json"
ADAPTER_CONFIG = "adapter_config.json"  # of peft; transformers would read the model that it names in place of this one
# All files from which transformers takes the class of a model or its preprocessor.
NAMING_CLASSES = (CONFIG, PREPROCESSOR, "processor_config.json")
AVERAGED = "unet_ema"  # as diffusers' training scripts leave it beside `unet`


def source_digest(source: str, key: str, kind: str = NETWORK) -> str:
    """Digest of a model's content, a network of diffusers': of its files for a folder, of the commit for a hub id.

    `kind` is the network's class, `key` names the setting in errors. Raises ConfigError for what is neither,
    ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    check_is_folder(source, key, kind, "model")
    return digest(" ".join(sha256_file(file) for file in model_files(source, key).files))


def check_is_folder(source: str, key: str, kind: str, what: str) -> None:
    """Raise ConfigError unless a setting's value is a folder; one file of weights is answered with how to make one."""
    if source and Path(source).is_file():
        raise ConfigError(single_file_advice(Path(source), key, kind))
    if not (source and Path(source).is_dir()):
        raise ConfigError(f"{key}: {source!r} is no folder, and no {FORM.format(what)}")
    if not os.access(source, os.R_OK | os.X_OK):
        raise ConfigError(f"{key}: the folder {source!r} cannot be read; change its permissions")
    alone = weights_alone(Path(source))
    if alone is not None:
        raise ConfigError(single_file_advice(alone, key, kind))


def fetched(source: str, key: str) -> Path:
    """The local folder of a model; a hub id is downloaded, or found in the hub's own cache.

    `key` names the setting in errors. Raises ArtifactError for a model that cannot be downloaded.
    """
    if not HUB_ID.fullmatch(source):
        return Path(source)
    return downloaded(source, "model", ["*.json", "*.safetensors"], key)


def network_folder(source: str | Path) -> Path:
    """Where the network lies in a folder: in its part of a whole pipeline, averaged weights first, or in itself."""
    parts = [Path(source, part) for part in (AVERAGED, "unet")]
    return next((part for part in parts if part.is_dir()), Path(source))


def model_files(source: str | Path, key: str) -> Checkpoint:
    """The files of the network in a diffusers folder or a whole pipeline.

    Raises ArtifactError for a folder without them; weights that would have to be unpickled are refused.
    """
    return found_checkpoint(network_folder(source), DIFFUSERS, key)


def notes_of(source: str, key: str) -> list[str]:
    """What the user should know of how a folder was read, a sentence each."""
    if HUB_ID.fullmatch(source):
        return []
    found, notes = model_files(source, key), []
    if found.config.parent.name == AVERAGED and Path(source, "unet").is_dir():
        notes.append(f"{key}: of {source} the averaged weights in {AVERAGED} are taken, not those in unet.")
    return notes + variant_notes([found], key)


def variant_notes(checkpoints: list[Checkpoint], key: str) -> list[str]:
    """The same of weights that are there as a variant alone."""
    return [
        f"{key}: {found.config.parent} has its weights as the variant {found.variant} alone; it is taken, in float32."
        for found in checkpoints
        if found.variant
    ]


def check_model(
    folder: Path,
    unet: UNet,
    process: NoiseSchedule,
    shape: tuple[int, ...],
    key: str,
    whole: Config | None = None,
) -> None:
    """Raise ArtifactError unless a folder's model is of the network and the process that the configuration gives.

    Its settings are compared, and names and shapes of all tensors, by the weights' headers. `shape` [C, H, W] is that
    of the images. `key` names the setting in errors. Settings that differ are all listed, as the YAML to write; what no
    setting expresses is refused by name. With the `whole` configuration the YAML also has what has to change beside
    them.
    """
    _check_index(folder, key)
    found = model_files(folder, key)
    differing = differing_network(found.config, unet, shape, key) | differing_process(folder, process, key)
    refuse(differing, {"data": Data(), "unet": unet, "noise_schedule": process}, folder, key, whole)
    settings = UNET_DEFAULTS | read_object(found.config, key)
    headers, expected = read_headers(found, key), dict(tensors_of_unet(settings))
    check_shapes(headers, expected.items(), found.named, key)
    for name in sorted(headers.keys() - expected.keys()):
        raise ArtifactError(f"{key}: {headers[name].file} has an unknown tensor {name!r}")


def check_process(folder: Path, process: NoiseSchedule, key: str, whole: Config | None = None) -> None:
    """The same for the process alone, of a pipeline whose network is taken as it is."""
    refuse(differing_process(folder, process, key), {"noise_schedule": process}, folder, key, whole)


def _check_index(folder: Path, key: str) -> None:
    """Raise ArtifactError when a whole pipeline is of code of its own, or its network does not see images."""
    file = folder / INDEX
    if not file.exists():
        return
    index: dict[str, Any] = read_object(file, key)
    kind, network = index.get("_class_name", ""), index.get("unet", ["diffusers", NETWORK])
    if network != ["diffusers", NETWORK]:
        raise ArtifactError(f"{key}: {file} gives {network!r} as unet, but only {NETWORK} of diffusers is supported")
    for part in ("vae", "vqvae"):
        if index.get(part) not in (None, [None, None]):
            raise ArtifactError(
                f"{key}: {file} has a {part}: its network sees latents, but images are what is given here"
            )
    if not isinstance(kind, str):
        raise ArtifactError(f"{key}: {file} is of {kind!r}, code that is never run; give the folder of its unet")


def vision_digest(source: str, key: str) -> str:
    """Digest of a transformers vision model: of its files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for what is neither, ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    check_is_folder(source, key, "AutoModel", "model")
    folder = Path(source)
    settings = [vision_files(folder, key).config, folder / PREPROCESSOR]
    return digest(" ".join(sha256_file(file) for file in [*settings, *sorted(folder.glob("*.safetensors"))]))


def vision_files(folder: Path, key: str) -> Checkpoint:
    """The files of the network in a folder. Raises ArtifactError for an incomplete one."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    for name, there in [(CONFIG, (folder / CONFIG).is_file()), (PREPROCESSOR, (folder / PREPROCESSOR).is_file())]:
        if not there:
            raise ArtifactError(f"{key}: {folder} has no {name}; give the folder of a transformers vision model")
    if not weights:
        raise ArtifactError(f"{key}: {folder} has no *.safetensors; give the folder of a transformers vision model")
    return found_checkpoint(folder, TRANSFORMERS, key)


def check_vision_model(folder: Path, key: str) -> Checkpoint:
    """The network's files, after a look at all settings and at the weights' headers. `key` names the setting in errors.

    Raises ArtifactError for an incomplete folder, one that names code of its own, adapters, and quantised weights.
    """
    found = vision_files(folder, key)
    for name in NAMING_CLASSES:
        file = folder / name
        if file.exists() and read_object(file, key).get("auto_map"):
            raise ArtifactError(
                f"{key}: {file} has auto_map, which names Python code; code of a model's own is never run. Give a "
                "model whose architecture transformers has itself; if this one's is among them, take auto_map out"
            )
    if (folder / ADAPTER_CONFIG).exists():
        raise ArtifactError(
            f"{key}: {folder} has {ADAPTER_CONFIG}: adapters of another model, which is not followed; save the model "
            "whole, as peft's merge_and_unload().save_pretrained(...)"
        )
    if read_object(found.config, key).get("quantization_config") is not None:
        raise ArtifactError(f"{key}: {found.config} has quantization_config; give the model unquantised")
    read_headers(found, key)
    return found


def vision_notes(source: str, key: str) -> list[str]:
    """What the user should know of how a folder is read, a sentence each."""
    return [] if HUB_ID.fullmatch(source) else variant_notes([vision_files(Path(source), key)], key)
