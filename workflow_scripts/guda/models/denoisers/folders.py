"""Model folders that diffusers can open: written here and read back, or trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guda.core.artifacts import CURE, check_tensors, load_tensors, read_json, save_tensors, sha256_file, write_text
from guda.core.errors import ArtifactError
from guda.core.paths import ADAPTER, MODEL_FILES, WEIGHTS
from guda.models.checkpoints.weights import take_weights
from guda.models.denoisers.adapters import check_adapters, merge_adapters
from guda.models.denoisers.text_unet import TextDenoiser, new_text_denoiser
from guda.models.denoisers.unet import UNetDenoiser, new_denoiser
from guda.models.imported import check_model, model_files
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import ImportedModelSpec, Spec

DENOISERS = {"UNet2DModel": UNetDenoiser, "UNet2DConditionModel": TextDenoiser}  # by diffusers' name of the network


def save_denoiser(folder: str | Path, denoiser: UNetDenoiser, spec: Spec, **metadata: str) -> list[Path]:
    """Write a diffusers folder for `from_pretrained`; the weights carry spec and provenance.

    Returns the files written.
    """
    config_file, weights_file = Path(folder) / "config.json", Path(folder) / WEIGHTS
    write_text(config_file, denoiser.unet.to_json_string())
    metadata["config_sha256"] = sha256_file(config_file)
    save_tensors(weights_file, denoiser.unet.state_dict(), spec, **metadata)
    return [config_file, weights_file]


def load_denoiser(
    folder: str | Path, schedule: NoiseSchedule, spec_digest: str | None = None, base: str | Path | None = None
) -> tuple[UNetDenoiser, dict[str, str]]:
    """Read a model folder written here: the denoiser in evaluation mode, and the weights' metadata.

    `base` is the folder of the base model, if `folder` only holds adapters of it. Raises ArtifactError if a file is
    missing or damaged, the weights are of another spec or of another network than config.json's, config.json is not the
    one that they were saved with, or the adapters are of another base model.
    """
    if base is not None:
        return _load_adapted(Path(folder), Path(base), schedule, spec_digest)
    weights_file, config_file = Path(folder) / WEIGHTS, Path(folder) / "config.json"
    weights, metadata = load_tensors(weights_file, spec_digest)
    if not config_file.exists():
        raise ArtifactError(f"{config_file}: no such file. Run snakemake to make it.")
    if metadata.get("config_sha256") != sha256_file(config_file):
        raise ArtifactError(f"{config_file}: not the configuration that {weights_file} was saved with. {CURE}")
    unet = read_network(config_file)
    check_tensors(weights_file, weights, unet.state_dict())
    unet.load_state_dict(weights)
    denoiser = DENOISERS[type(unet).__name__](unet, schedule, unet.config.num_class_embeds)
    return denoiser.eval(), metadata


def network_files(folder: str | Path, base: str | Path | None = None) -> dict[str, str | Path]:
    """The files that `load_denoiser` reads a network from, by role."""
    files: dict[str, str | Path] = {name: Path(base or folder) / name for name in MODEL_FILES}
    return files if base is None else files | {ADAPTER: Path(folder) / ADAPTER}


def read_network(config_file: Path, family: str | None = None) -> Any:
    """A freshly initialized network of one of the families that are written here. Raises ArtifactError.

    A file that does not name its family is assumed to be of `family`.
    """
    import diffusers

    settings = read_json(config_file)
    family = (settings.get("_class_name") or family) if isinstance(settings, dict) else None
    if str(family) not in DENOISERS:
        raise ArtifactError(f"{config_file}: of class {family!r}, expected {' or '.join(DENOISERS)}. {CURE}")
    try:
        return getattr(diffusers, str(family)).from_config(settings)
    except Exception as error:  # diffusers and torch may raise anything
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{config_file}: cannot build a network from it ({reason}). {CURE}") from None


def _load_adapted(
    folder: Path, base: Path, schedule: NoiseSchedule, spec_digest: str | None
) -> tuple[UNetDenoiser, dict[str, str]]:
    tensors, metadata = load_tensors(folder / ADAPTER, spec_digest)
    denoiser, _ = load_denoiser(base, schedule)
    if metadata.get("parent_sha256") != sha256_file(base / WEIGHTS):
        raise ArtifactError(f"{folder / ADAPTER}: adapters of another base model than {base / WEIGHTS}. {CURE}")
    check_adapters(folder / ADAPTER, tensors, metadata, denoiser.unet)
    merge_adapters(denoiser, tensors, metadata)
    return denoiser, metadata


def load_imported_denoiser(folder: Path, spec: ImportedModelSpec, key: str) -> UNetDenoiser:
    """Read a model that was not written here, from a diffusers folder or a full pipeline.

    `key` names the setting in errors. Raises ArtifactError if a file is missing, not a safetensors file, or not of the
    architecture and noise schedule in the spec.
    """
    check_model(folder, spec.unet, spec.noise_schedule, tuple(spec.shape), key)
    schedule = NoiseSchedule.from_config(spec.noise_schedule)
    denoiser = new_denoiser(spec.unet, schedule, tuple(spec.shape))
    take_weights(denoiser.unet, model_files(folder, key), key)
    return denoiser.eval()


def load_pretrained_unet(
    folder: Path, schedule: NoiseSchedule, key: str, latent_size: tuple[int, int] | None = None
) -> TextDenoiser:
    """Read the network of a text-to-image model that was not written here, from its folder or that of its pipeline.

    `schedule` is the process that it was trained for; `latent_size` is the height and width of the latents that it will
    see, which its checkpoints then record; None: those in its own file. `key` names the setting in errors. Raises
    ArtifactError if a file is missing, not a safetensors file, or not of a network conditioned on a prompt alone.
    """
    found = model_files(folder, key)
    denoiser = new_text_denoiser(found.config, schedule, key, latent_size)
    take_weights(denoiser.unet, found, key)
    return denoiser.eval()
