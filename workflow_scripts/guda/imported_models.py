"""Models that others trained: diffusers folders and hub ids, taken as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from guda.artifacts import sha256_file
from guda.errors import ArtifactError, ConfigError
from guda.hub import FORM, HUB_ID, downloaded
from guda.paths import WEIGHTS
from guda.specs import digest


def source_digest(source: str, key: str) -> str:
    """Digest of a model's content: of its two files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for what is neither, ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    if not (source and Path(source).is_dir()):
        raise ConfigError(f"{key}: {source!r} is no folder, and no {FORM.format('model')}")
    return digest(" ".join(sha256_file(file) for file in model_files(source, key)))


def fetched(source: str, key: str) -> Path:
    """The local folder of a model; a hub id is downloaded, or found in the hub's own cache.

    `key` names the setting in errors. Raises ArtifactError for a model that cannot be downloaded.
    """
    if not HUB_ID.fullmatch(source):
        return Path(source)
    return downloaded(source, "model", ["*.json", "*.safetensors"], key)


def model_files(source: str | Path, key: str) -> tuple[Path, Path]:
    """config.json and weights of a diffusers folder, or of its `unet` when it is a whole pipeline.

    Raises ArtifactError for a folder without them; weights that would have to be unpickled are refused.
    """
    folder = Path(source)
    if (folder / "unet").is_dir():
        folder = folder / "unet"
    config_file, weights_file = folder / "config.json", folder / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            pickles = sorted(path.name for path in folder.glob("*.bin")) if file == weights_file else []
            advice = (
                f"; {pickles[0]} would have to be unpickled, which can run any code. Open it where you trust it and "
                "save it with save_pretrained(..., safe_serialization=True)"
                if pickles
                else "; give a folder that save_pretrained wrote"
            )
            raise ArtifactError(f"{key}: {folder} has no {file.name}{advice}")
    return config_file, weights_file


def check_architecture(config_file: Path, expected: dict[str, Any], defaults: dict[str, Any], key: str) -> None:
    """Raise ArtifactError, naming the first key that differs, unless the file holds the expected architecture.

    `expected` is the configuration of the network that `unet` and the images give, `defaults` what diffusers takes for
    a key that the file lacks, both as JSON would hold them.
    """
    found = defaults | _read_object(config_file, key)
    size = found["sample_size"]  # diffusers' own examples give one number; no layer depends on it, and null is no size
    found["sample_size"] = [size, size] if isinstance(size, int) else size or expected["sample_size"]
    for name, value in expected.items():
        if name != "_diffusers_version" and name in found and found[name] != value:
            raise ArtifactError(
                f"{key}: {config_file} has {name} {found[name]!r}, but `unet` in the configuration and the training "
                f"images give {value!r}"
            )


def check_schedule(folder: Path, expected: dict[str, Any], key: str) -> None:
    """Raise ArtifactError when a pipeline's scheduler was configured otherwise than `noise_schedule` says.

    `expected` has the scheduler's values under diffusers' names.
    """
    file = folder / "scheduler" / "scheduler_config.json"
    if not file.exists():
        return
    found = _read_object(file, key)
    for name, value in expected.items():
        if name in found and found[name] != value:
            raise ArtifactError(f"{key}: {file} has {name} {found[name]!r}, but noise_schedule gives {value!r}")


def _read_object(file: Path, key: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{key}: {file} is no configuration of diffusers: {error}") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{key}: {file} is no configuration of diffusers: it holds no JSON object")
    return found
