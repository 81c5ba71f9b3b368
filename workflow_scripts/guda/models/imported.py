"""Models trained elsewhere: diffusers folders and hub ids, used unchanged."""

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
ADAPTER_CONFIG = "adapter_config.json"  # of peft; transformers would read the model named in it instead of this one
# All files in which transformers looks for the class of a model or its preprocessor.
NAMING_CLASSES = (CONFIG, PREPROCESSOR, "processor_config.json")
AVERAGED = "unet_ema"  # as written by diffusers' training scripts beside `unet`


def source_digest(source: str, key: str, kind: str = NETWORK) -> str:
    """Digest of the content of a diffusers network: of its files for a folder, of the commit for a hub id.

    `kind` is the network's class, `key` names the setting in errors. Raises ConfigError for anything else, and
    ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    check_is_folder(source, key, kind, "model")
    return digest(" ".join(sha256_file(file) for file in model_files(source, key).files))


def check_is_folder(source: str, key: str, kind: str, what: str) -> None:
    """Raise ConfigError unless a setting's value is a folder; for a single weights file, say how to make one."""
    if source and Path(source).is_file():
        raise ConfigError(single_file_advice(Path(source), key, kind))
    if not (source and Path(source).is_dir()):
        raise ConfigError(f"{key}: {source!r} is neither a folder nor a {FORM.format(what)}")
    if not os.access(source, os.R_OK | os.X_OK):
        raise ConfigError(f"{key}: the folder {source!r} cannot be read; change its permissions")
    alone = weights_alone(Path(source))
    if alone is not None:
        raise ConfigError(single_file_advice(alone, key, kind))


def fetched(source: str, key: str) -> Path:
    """The local folder of a model; a hub id is downloaded, or found in the hub's cache.

    `key` names the setting in errors. Raises ArtifactError if the download fails.
    """
    if not HUB_ID.fullmatch(source):
        return Path(source)
    return downloaded(source, "model", ["*.json", "*.safetensors"], key)


def network_folder(source: str | Path) -> Path:
    """Where the network is in a folder: in its part of a pipeline, averaged weights first, or in the folder itself."""
    parts = [Path(source, part) for part in (AVERAGED, "unet")]
    return next((part for part in parts if part.is_dir()), Path(source))


def model_files(source: str | Path, key: str) -> Checkpoint:
    """The files of the network in a diffusers folder or a full pipeline.

    Raises ArtifactError for a folder without them, or with weights that would have to be unpickled.
    """
    return found_checkpoint(network_folder(source), DIFFUSERS, key)


def notes_of(source: str, key: str) -> list[str]:
    """Notes on how a folder was read, one sentence each."""
    if HUB_ID.fullmatch(source):
        return []
    found, notes = model_files(source, key), []
    if found.config.parent.name == AVERAGED and Path(source, "unet").is_dir():
        notes.append(f"{key}: {source} is read with the averaged weights in {AVERAGED}, not those in unet.")
    return notes + variant_notes([found], key)


def variant_notes(checkpoints: list[Checkpoint], key: str) -> list[str]:
    """The same for weights that exist only as a variant."""
    return [
        f"{key}: {found.config.parent} has weights only as the variant {found.variant}; it is used, in float32."
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
    """Raise ArtifactError unless a folder's model has the configured network and diffusion process.

    Compares its settings, and the names and shapes of all tensors from the weights' headers. `shape` [C, H, W] is that
    of the images. `key` names the setting in errors. All settings that differ are listed, as the YAML to write; what no
    setting can express is rejected by name. With the `whole` configuration, the YAML also has what must change along
    with them.
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
    """The same for the process alone, for a pipeline whose network is used unchanged."""
    refuse(differing_process(folder, process, key), {"noise_schedule": process}, folder, key, whole)


def _check_index(folder: Path, key: str) -> None:
    """Raise ArtifactError if a pipeline has code of its own, or its network does not see images."""
    file = folder / INDEX
    if not file.exists():
        return
    index: dict[str, Any] = read_object(file, key)
    kind, network = index.get("_class_name", ""), index.get("unet", ["diffusers", NETWORK])
    if network != ["diffusers", NETWORK]:
        raise ArtifactError(f"{key}: {file} has the unet {network!r}, but only {NETWORK} of diffusers is supported")
    for part in ("vae", "vqvae"):
        if index.get(part) not in (None, [None, None]):
            raise ArtifactError(
                f"{key}: {file} has a {part}: its network sees latents, but only models of pixels are supported here"
            )
    if not isinstance(kind, str):
        raise ArtifactError(f"{key}: {file} is of {kind!r}, code that is never run; give the folder of its unet")


def vision_digest(source: str, key: str) -> str:
    """Digest of a transformers vision model: of its files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for anything else, ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    check_is_folder(source, key, "AutoModel", "model")
    folder = Path(source)
    settings = [vision_files(folder, key).config, folder / PREPROCESSOR]
    return digest(" ".join(sha256_file(file) for file in [*settings, *sorted(folder.glob("*.safetensors"))]))


def vision_files(folder: Path, key: str) -> Checkpoint:
    """The files of the network in a folder. Raises ArtifactError for an incomplete folder."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    for name, there in [(CONFIG, (folder / CONFIG).is_file()), (PREPROCESSOR, (folder / PREPROCESSOR).is_file())]:
        if not there:
            raise ArtifactError(f"{key}: {folder} has no {name}; give the folder of a transformers vision model")
    if not weights:
        raise ArtifactError(f"{key}: {folder} has no *.safetensors; give the folder of a transformers vision model")
    return found_checkpoint(folder, TRANSFORMERS, key)


def check_vision_model(folder: Path, key: str) -> Checkpoint:
    """The network's files, after checking all settings and the weights' headers. `key` names the setting in errors.

    Raises ArtifactError for an incomplete folder, one with code of its own, adapters, or quantized weights.
    """
    found = vision_files(folder, key)
    for name in NAMING_CLASSES:
        file = folder / name
        if file.exists() and read_object(file, key).get("auto_map"):
            raise ArtifactError(
                f"{key}: {file} has auto_map, which names Python code; a model's own code is never run. Give a "
                "model whose architecture is part of transformers; if this one's is, remove auto_map"
            )
    if (folder / ADAPTER_CONFIG).exists():
        raise ArtifactError(
            f"{key}: {folder} has {ADAPTER_CONFIG}: adapters of another model, which is not loaded; save the merged "
            "model, with peft's merge_and_unload().save_pretrained(...)"
        )
    if read_object(found.config, key).get("quantization_config") is not None:
        raise ArtifactError(f"{key}: {found.config} has quantization_config; give the model unquantized")
    read_headers(found, key)
    return found


def vision_notes(source: str, key: str) -> list[str]:
    """Notes on how a folder is read, one sentence each."""
    return [] if HUB_ID.fullmatch(source) else variant_notes([vision_files(Path(source), key)], key)
