"""Models that others trained: diffusers folders and hub ids, taken as they are."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from guda.artifacts import sha256_file
from guda.config import UNet
from guda.errors import ArtifactError, ConfigError
from guda.files import regular
from guda.hub import FORM, HUB_ID, downloaded
from guda.paths import WEIGHTS
from guda.specs import digest

SCHEDULER = "scheduler_config.json"
# What a scheduler has unless it changes the process beyond what noise_schedule expresses.
UNCHANGED_PROCESS = {"trained_betas": None, "rescale_betas_zero_snr": False, "use_flow_sigmas": False}
DATA_SETTINGS = {"in_channels": "channels", "sample_size": "size"}
ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def source_digest(source: str, key: str) -> str:
    """Digest of a model's content: of its two files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for what is neither, ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    if not (source and Path(source).is_dir()):
        raise ConfigError(f"{key}: {source!r} is no folder, and no {FORM.format('model')}")
    return digest(" ".join(sha256_file(file) for file in model_files(source, key)))


def vision_digest(source: str, key: str) -> str:
    """Digest of a transformers vision model: of its files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for what is neither, ArtifactError for an incomplete folder.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    folder = Path(source)
    if not folder.is_dir():
        raise ConfigError(f"{key}: {source!r} is no folder, and no {FORM.format('model')}")
    settings = [folder / name for name in ("config.json", "preprocessor_config.json")]
    weights = sorted(folder.glob("*.safetensors"))
    for name, there in [*((file.name, file.is_file()) for file in settings), ("*.safetensors", weights)]:
        if not there:
            raise ArtifactError(f"{key}: {folder} has no {name}; give the folder of a transformers vision model")
    return digest(" ".join(sha256_file(file) for file in [*settings, *weights]))


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


def current_name(tensor: str) -> str:
    """A tensor's name as diffusers writes it now; older files call the layers of attention otherwise."""
    return re.sub(rf"\.({'|'.join(ATTENTION)})\.(?=weight$|bias$)", lambda old: f".{ATTENTION[old[1]]}.", tensor)


def check_settings(
    folder: Path, network: dict[str, Any], defaults: dict[str, Any], process: dict[str, Any], key: str
) -> None:
    """Raise ArtifactError unless a folder's model is of the network and the process that the configuration gives.

    `network` is what `unet` and the images give, `defaults` what diffusers takes for a key that the file lacks, both as
    JSON would hold them; `process` holds the settings of `noise_schedule`. `key` names the setting in errors. Settings
    that differ are all listed, as the YAML to write; what no setting expresses is refused by name.
    """
    differing = _differing_network(model_files(folder, key)[0], network, defaults, key)
    _refuse(differing | _differing_process(folder, process, key), folder, key)


def check_process(folder: Path, process: dict[str, Any], key: str) -> None:
    """The same for the process alone, of a pipeline whose network is taken as it is."""
    _refuse(_differing_process(folder, process, key), folder, key)


def _refuse(differing: dict[str, dict[str, Any]], folder: Path, key: str) -> None:
    sections = {section: settings for section, settings in differing.items() if settings}
    if sections:
        lines = yaml.safe_dump(sections, default_flow_style=None, sort_keys=False, width=math.inf).rstrip()
        raise ArtifactError(f"{key}: {folder} has other settings than the configuration; to take it, write\n{lines}")


def _differing_network(file: Path, network: dict[str, Any], defaults: dict[str, Any], key: str) -> dict[str, Any]:
    """The settings of `data` and `unet` that give a file's network, where the configuration's do not."""
    found = defaults | read_object(file, key)
    size = found["sample_size"]  # diffusers' own examples give one number; no layer depends on it, and null is no size
    found["sample_size"] = [size, size] if isinstance(size, int) else size or network["sample_size"]
    found, wanted = (
        values | {"learned_variance": values["out_channels"] != values["in_channels"]} for values in (found, network)
    )
    differing = {name: found[name] for name in wanted if name in found and found[name] != wanted[name]}
    differing.pop("_diffusers_version", None)
    if differing.keys() & {"in_channels", "learned_variance"}:
        differing.pop("out_channels", None)  # follows from these
    data = {setting: differing.pop(name) for name, setting in DATA_SETTINGS.items() if name in differing}
    unet = {name: differing.pop(name) for name in UNet.model_fields if name in differing}
    for name, value in differing.items():
        raise ArtifactError(f"{key}: {file} has {name} {value!r}, but only {wanted[name]!r} is supported")
    return {"data": data, "unet": unet}


def _differing_process(folder: Path, process: dict[str, Any], key: str) -> dict[str, Any]:
    """The settings of `noise_schedule` that give a pipeline's process, where the configuration's do not.

    The scheduler has a folder of its own, or lies beside the network in older pipelines; without it nothing is known.
    """
    files = [file for file in (folder / "scheduler" / SCHEDULER, folder / SCHEDULER) if file.is_file()]
    if not files:
        return {}
    found = UNCHANGED_PROCESS | {"prediction_type": "epsilon"} | read_object(files[0], key)
    for name, value in UNCHANGED_PROCESS.items():
        if found[name] != value:
            raise ArtifactError(f"{key}: {files[0]} has {name} {found[name]!r}, but only {value!r} is supported")
    if "beta_schedule" not in found:
        raise ArtifactError(
            f"{key}: {files[0]} has no beta_schedule; a process that is not given by betas is unknown here"
        )
    unread = {"beta_start", "beta_end"} if found["beta_schedule"] == "squaredcos_cap_v2" else set()
    names = [name for name in process if name in found and name not in unread and found[name] != process[name]]
    return {"noise_schedule": {name: found[name] for name in names}}


def read_object(file: Path, key: str) -> dict[str, Any]:
    """A configuration of diffusers. `key` names the setting in errors. Raises ArtifactError when it is no such file."""
    try:
        found = json.loads(regular(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{key}: {file} is no configuration of diffusers: {error}") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{key}: {file} is no configuration of diffusers: it holds no JSON object")
    return found
