"""The folder of a text-to-image pipeline, as diffusers writes it: what has to lie in it, and its digest."""

from __future__ import annotations

import json
from pathlib import Path

from guda.artifacts import sha256_file
from guda.errors import ArtifactError, ConfigError
from guda.files import regular
from guda.hub import FORM, HUB_ID, downloaded
from guda.paths import CONFIG, WEIGHTS
from guda.specs import digest

INDEX = "model_index.json"
PIPELINE = "StableDiffusionPipeline"
PIPELINE_KEY = "text_to_image.pipeline"  # in the configuration
CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}
TEXT_WEIGHTS = "model.safetensors"
VOCABULARY, MERGES, TOKENIZER_CONFIG = "vocab.json", "merges.txt", "tokenizer_config.json"
SCHEDULER = "scheduler/scheduler_config.json"
NETWORKS = {"unet": WEIGHTS, "vae": WEIGHTS, "text_encoder": TEXT_WEIGHTS}
# What a tokenizer is made of: either the first file, which newer versions write, or the two others.
TOKENIZERS = (["tokenizer.json"], [VOCABULARY, MERGES])
TOKENIZER_SETTINGS = (TOKENIZER_CONFIG, "special_tokens_map.json")


def pipeline_digest(source: str, key: str) -> str:
    """Digest of a pipeline's content: of its files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for what is neither, ArtifactError for a folder that is
    incomplete or of another kind of pipeline.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    folder = Path(source)
    if not (source and folder.is_dir()):
        raise ConfigError(f"{key}: {source!r} is no folder, and no {FORM.format('pipeline')}")
    return digest(" ".join(sha256_file(file) for file in pipeline_files(folder, key)))


def fetched_pipeline(source: str, key: str) -> Path:
    """The local folder of a pipeline; of a hub id the files that are needed are downloaded, or found in its cache.

    `key` names the setting in errors. Raises ArtifactError for a pipeline that cannot be downloaded.
    """
    if not HUB_ID.fullmatch(source):
        return Path(source)
    networks = [f"{part}/{name}" for part, weights in NETWORKS.items() for name in (CONFIG, weights)]
    return downloaded(source, "model", [INDEX, SCHEDULER, *networks, "tokenizer/*"], key)


def pipeline_files(folder: Path, key: str) -> list[Path]:
    """The files that a pipeline's numbers depend on, all of them there.

    Raises ArtifactError for a missing file or another kind of pipeline; weights that would have to be unpickled are
    refused.
    """
    _check_classes(folder, key)
    networks = [folder / part / name for part, weights in NETWORKS.items() for name in (CONFIG, weights)]
    for file in [*networks, folder / SCHEDULER]:
        if not file.is_file():
            raise ArtifactError(f"{key}: {file.parent} has no {file.name}{_advice(file)}")
    tokenizer = folder / "tokenizer"
    whole = [names for names in TOKENIZERS if all((tokenizer / name).is_file() for name in names)]
    if not whole:
        raise ArtifactError(f"{key}: {tokenizer} has neither tokenizer.json nor {VOCABULARY} and {MERGES}")
    names = [*whole[0], *(name for name in TOKENIZER_SETTINGS if (tokenizer / name).is_file())]
    return [folder / INDEX, *networks, folder / SCHEDULER, *(tokenizer / name for name in names)]


def _check_classes(folder: Path, key: str) -> None:
    """Raise ArtifactError unless a pipeline is that of Stable Diffusion 1 or 2, each part of the class it has there."""
    try:
        index = json.loads(regular(folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{key}: {folder} has no {INDEX}; give the folder of a whole pipeline") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{key}: {folder / INDEX} cannot be read ({error})") from None
    found = {part: (entry or [None, None])[1] for part, entry in index.items() if isinstance(entry, list)}
    for part, expected in CLASSES.items():
        # Older versions of transformers call one of two equal tokenizers by this name.
        if str(found.get(part)).removesuffix("Fast") != expected:
            raise ArtifactError(
                f"{key}: {folder / INDEX} gives {found.get(part)} as {part}, but only {expected} is supported "
                "(pipelines of Stable Diffusion 1 and 2)"
            )
    if index.get("_class_name") != PIPELINE:
        raise ArtifactError(
            f"{key}: {folder / INDEX} is of {index.get('_class_name')}, but only {PIPELINE} is supported"
        )


def _advice(file: Path) -> str:
    pickles = sorted(path.name for path in file.parent.glob("*.bin")) if file.suffix == ".safetensors" else []
    if not pickles:
        return "; give the folder of a whole pipeline, as save_pretrained writes it"
    return (
        f"; {pickles[0]} would have to be unpickled, which can run any code. Open the pipeline where you trust it and "
        "save it with save_pretrained(..., safe_serialization=True)"
    )
