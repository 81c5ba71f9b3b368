"""The folder of a text-to-image pipeline, as diffusers writes it: required files, checks that they fit, and digest."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError
from guda.core.hub import HUB_ID, downloaded
from guda.core.paths import CONFIG
from guda.models.checkpoints.files import (
    DIFFUSERS,
    SUFFIX,
    TRANSFORMERS,
    Checkpoint,
    TensorHeader,
    check_shapes,
    found_checkpoint,
    read_headers,
    read_object,
)
from guda.models.checkpoints.landmarks import landmarks_of_autoencoder, landmarks_of_text_encoder, landmarks_of_unet
from guda.models.imported import AVERAGED, INDEX, check_is_folder, model_files, variant_notes
from guda.specs import digest

PIPELINE, NETWORK = "StableDiffusionPipeline", "UNet2DConditionModel"
PIPELINE_KEY = "text_to_image.pipeline"  # in the configuration
CLASSES = {
    "unet": NETWORK,
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}
LIBRARIES = {"unet": "diffusers", "vae": "diffusers", "text_encoder": "transformers", "tokenizer": "transformers"}
VOCABULARY, MERGES, TOKENIZER_CONFIG = "vocab.json", "merges.txt", "tokenizer_config.json"
SCHEDULER = "scheduler/scheduler_config.json"
STEMS = {"unet": DIFFUSERS, "vae": DIFFUSERS, "text_encoder": TRANSFORMERS}  # of the networks' weights
NETWORKS = {part: f"{stem}{SUFFIX}" for part, stem in STEMS.items()}
# The files of a tokenizer: either the first, which newer versions write, or the other two.
TOKENIZERS = (["tokenizer.json"], [VOCABULARY, MERGES])
TOKENIZER_SETTINGS = (TOKENIZER_CONFIG, "special_tokens_map.json")
# Settings that would make a tokenizer read a file that is not its own.
OTHER_FILES = ("vocab_file", "merges_file", "tokenizer_file")
# The libraries' defaults for settings that a part's file may lack, for those read here.
DEFAULTS: dict[str, dict[str, Any]] = {
    "unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "cross_attention_dim": 1280,
    },
    "vae": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [64],
        "layers_per_block": 1,
        "scaling_factor": 0.18215,
    },
    "text_encoder": {"hidden_size": 512, "vocab_size": 49408, "max_position_embeddings": 77, "num_hidden_layers": 12},
}
# The key with a part's class in its file, and the allowed values; a full CLIP includes its text encoder.
KINDS = {
    "unet": ("_class_name", [CLASSES["unet"]]),
    "vae": ("_class_name", [CLASSES["vae"]]),
    "text_encoder": ("model_type", ["clip_text_model", "clip"]),
}
# Settings that would make a part compute something else than the code here.
BEYOND_PROMPTS = (
    "addition_embed_type",
    "class_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "num_class_embeds",
    "time_cond_proj_dim",
)
BEYOND_SCALING = ("shift_factor", "latents_mean", "latents_std")


class Parts(NamedTuple):
    """The files of the networks and of the tokenizer."""

    networks: dict[str, Checkpoint]
    tokenizer: list[Path]


def pipeline_digest(source: str, key: str) -> str:
    """Digest of a pipeline's content: of its files for a folder, of the pinned commit for a hub id.

    `key` names the setting in errors. Raises ConfigError for anything else, ArtifactError for a folder that is
    incomplete or of another kind of pipeline.
    """
    if HUB_ID.fullmatch(source):
        return digest(source)
    check_is_folder(source, key, PIPELINE, "pipeline")
    return digest(" ".join(sha256_file(file) for file in pipeline_files(Path(source), key)))


def fetched_pipeline(source: str, key: str) -> Path:
    """The local folder of a pipeline; for a hub id, the needed files are downloaded, or found in the hub's cache.

    Variants of a network's weights are downloaded only if there are no others. `key` names the setting in errors.
    Raises ArtifactError if the download fails.
    """
    if not HUB_ID.fullmatch(source):
        return Path(source)
    whole = [INDEX, SCHEDULER, "tokenizer/*"]
    for part, stem in STEMS.items():
        shards = f"{stem}-?????-of-?????{SUFFIX}"
        whole += [f"{part}/{name}" for name in (CONFIG, f"{stem}{SUFFIX}", f"{stem}{SUFFIX}.index.json", shards)]
    folder = downloaded(source, "model", whole, key)
    variants = [
        f"{part}/{stem}*{ending}"
        for part, stem in STEMS.items()
        if not any((folder / part / f"{stem}{SUFFIX}{ending}").is_file() for ending in ("", ".index.json"))
        for ending in (SUFFIX, ".json")
    ]
    return downloaded(source, "model", variants, key) if variants else folder


def pipeline_files(folder: Path, key: str) -> list[Path]:
    """All files that a pipeline's outputs depend on.

    Raises ArtifactError for a missing file, another kind of pipeline, or weights that would have to be unpickled.
    """
    parts = pipeline_parts(folder, key)
    networks = [file for checkpoint in parts.networks.values() for file in checkpoint.files]
    return [folder / INDEX, *networks, folder / SCHEDULER, *parts.tokenizer]


def pipeline_parts(folder: Path, key: str) -> Parts:
    """The files of a pipeline's parts; see `pipeline_files`."""
    _check_classes(folder, key)
    networks = {part: found_checkpoint(folder / part, stem, key) for part, stem in STEMS.items()}
    if not (folder / SCHEDULER).is_file():
        file = folder / SCHEDULER
        raise ArtifactError(f"{key}: {file.parent} has no {file.name}; give the folder of a full pipeline")
    tokenizer = folder / "tokenizer"
    for file in sorted(tokenizer.glob("*")):
        if not (file.is_file() or file.is_dir()):  # which transformers would wait for
            raise ArtifactError(f"{key}: {file} is not a regular file; remove it")
    whole = [names for names in TOKENIZERS if all((tokenizer / name).is_file() for name in names)]
    if not whole:
        raise ArtifactError(f"{key}: {tokenizer} has neither tokenizer.json nor {VOCABULARY} and {MERGES}")
    names = [*whole[0], *(name for name in TOKENIZER_SETTINGS if (tokenizer / name).is_file())]
    return Parts(networks, [tokenizer / name for name in names])


def pipeline_notes(folder: Path, key: str) -> list[str]:
    """Notes on how a pipeline is read, one sentence each."""
    notes = variant_notes(list(pipeline_parts(folder, key).networks.values()), key)
    if (folder / AVERAGED).is_dir():
        notes.append(f"{key}: {folder} has {AVERAGED} beside unet; unet is used, as {INDEX} says.")
    return notes


def check_pipeline(folder: Path, key: str) -> None:
    """Raise ArtifactError unless a pipeline's parts are complete, supported, and fit together.

    Only their settings and the headers of their weights are read. `key` names the setting in errors.
    """
    parts = pipeline_parts(folder, key)
    files = {part: checkpoint.config for part, checkpoint in parts.networks.items()}
    unet = _with_defaults("unet", unet_settings(files["unet"], key), files["unet"], key)
    vae, text = (
        _with_defaults(part, read_object(files[part], key), files[part], key) for part in files if part != "unet"
    )
    _check_autoencoder(vae, files["vae"], key)
    for one, other in [
        (("unet", unet, "in_channels"), ("vae", vae, "latent_channels")),
        (("unet", unet, "cross_attention_dim"), ("text_encoder", text, "hidden_size")),
    ]:
        (part, settings, name), (other_part, other_settings, other_name) = one, other
        if settings[name] != other_settings[other_name]:
            raise ArtifactError(
                f"{key}: {files[part]} has {name} {settings[name]}, but {files[other_part]} has {other_name} "
                f"{other_settings[other_name]}; give parts that were trained together"
            )
    _check_tokenizer(parts.tokenizer, text["vocab_size"], key)
    headers = {part: read_headers(found, key) for part, found in parts.networks.items()}
    prefix = "text_model." if any(name.startswith("text_model.") for name in headers["text_encoder"]) else ""
    expected = {
        "unet": landmarks_of_unet(unet),
        "vae": landmarks_of_autoencoder(vae),
        "text_encoder": landmarks_of_text_encoder(text, prefix),
    }
    for part, found in parts.networks.items():
        check_shapes(headers[part], expected[part], found.named, key)
    _check_attention(headers["unet"], unet["cross_attention_dim"], key)


def unet_settings(file: Path, key: str) -> dict[str, Any]:
    """The settings of a text-to-image network. Raises ArtifactError if it is conditioned on more than a prompt."""
    settings = read_object(file, key)
    family = settings.get("_class_name")
    if family != CLASSES["unet"]:
        raise ArtifactError(
            f"{key}: {file} is of class {family!r}; give a model of the family of Stable Diffusion 1 or 2, whose "
            f"network is a {CLASSES['unet']}"
        )
    for name in BEYOND_PROMPTS:
        if settings.get(name) is not None:
            raise ArtifactError(
                f"{key}: {file} has {name} {settings[name]!r}: conditioning on more than a prompt is not supported"
            )
    channels = [settings.get(name, DEFAULTS["unet"][name]) for name in ("in_channels", "out_channels")]
    if channels[0] != channels[1]:
        raise ArtifactError(f"{key}: {file} has {channels[0]} channels in and {channels[1]} out; they must agree")
    return settings


def check_unet(folder: Path, key: str, pipeline: Path | None) -> None:
    """Raise ArtifactError unless a folder's network, or that of a pipeline in it, is conditioned on a prompt alone.

    It must have the architecture of the network of `pipeline` (None: of one that does not exist yet).
    """
    found = model_files(folder, key)
    settings = DEFAULTS["unet"] | unet_settings(found.config, key)
    read_headers(found, key)
    if pipeline is not None:
        check_same_network(settings, DEFAULTS["unet"] | read_object(pipeline / "unet" / CONFIG, PIPELINE_KEY), key)


def check_same_network(settings: dict[str, Any], wanted: dict[str, Any], key: str) -> None:
    """Raise ArtifactError if a network's settings differ from the pipeline's, apart from the image size."""
    for name in sorted(settings.keys() | wanted.keys()):
        ours, theirs = settings.get(name), wanted.get(name)
        if ours != theirs and name != "sample_size" and not name.startswith("_"):
            raise ArtifactError(
                f"{key}: its network has {name} {ours!r}, but that of the pipeline has {theirs!r}; give a model that "
                "was fine-tuned from this pipeline"
            )


def _with_defaults(part: str, settings: dict[str, Any], file: Path, key: str) -> dict[str, Any]:
    """A network's settings with defaults for missing ones. Raises ArtifactError for a network of another kind."""
    (name, expected), found = KINDS[part], settings.get(KINDS[part][0])
    if found is not None and found not in expected:
        raise ArtifactError(f"{key}: {file} has {name} {found!r}, but only {expected[0]!r} is supported as {part}")
    if settings.get("quantization_config") is not None:
        raise ArtifactError(f"{key}: {file} has quantization_config; give the weights unquantized, in F32, F16 or BF16")
    known = DEFAULTS[part]
    inner = settings.get("text_config")  # of a CLIP that was saved in full
    settings = known | (inner if isinstance(inner, dict) else {}) | settings
    for name, default in known.items():
        values = settings[name] if isinstance(settings[name], list) else [settings[name]]
        kinds = (int, float) if isinstance(default, float) else (int,)
        listed = isinstance(default, list) or name == "layers_per_block"
        if (isinstance(settings[name], list) and not listed) or not (
            values and all(type(value) in kinds and value > 0 for value in values)
        ):
            raise ArtifactError(f"{key}: {file} has {name} {settings[name]!r}, expected a value like {default}")
    blocks = settings.get("block_out_channels")
    if blocks is not None and (
        not isinstance(blocks, list)
        or (isinstance(settings["layers_per_block"], list) and len(settings["layers_per_block"]) != len(blocks))
    ):
        raise ArtifactError(f"{key}: {file} has block_out_channels {blocks!r}, expected a list of one for each block")
    return settings


def _check_autoencoder(settings: dict[str, Any], file: Path, key: str) -> None:
    for name in ("in_channels", "out_channels"):
        if settings[name] != 3:
            raise ArtifactError(f"{key}: {file} has {name} {settings[name]}, but images have 3 channels; give another")
    for name in BEYOND_SCALING:
        if settings.get(name) is not None:
            raise ArtifactError(f"{key}: {file} has {name} {settings[name]!r}, but only null is supported")
    if not math.isfinite(settings["scaling_factor"]):
        raise ArtifactError(f"{key}: {file} has scaling_factor {settings['scaling_factor']}, expected a number")


def _check_tokenizer(files: list[Path], vocabulary: int, key: str) -> None:
    """Raise ArtifactError for a tokenizer that names files elsewhere, or has more words than the text encoder."""
    objects = {file.name: read_object(file, key) for file in files if file.suffix == ".json"}
    for name in OTHER_FILES:
        found = objects.get(TOKENIZER_CONFIG, {}).get(name)
        if found is not None:
            file = files[0].parent / TOKENIZER_CONFIG
            raise ArtifactError(f"{key}: {file} names {found!r} as {name}, which is not followed; remove the key")
    model = objects.get("tokenizer.json", {}).get("model")
    words = model.get("vocab") if isinstance(model, dict) else objects.get(VOCABULARY)
    if isinstance(words, dict) and len(words) > vocabulary:
        raise ArtifactError(
            f"{key}: {files[0]} has {len(words)} words, but the text encoder only {vocabulary} (vocab_size); give "
            "parts that were trained together"
        )


def _check_attention(headers: dict[str, TensorHeader], dim: int, key: str) -> None:
    for name, header in headers.items():
        if name.endswith(".attn2.to_k.weight") and header.shape[1:] != [dim]:
            raise ArtifactError(
                f"{key}: {header.file}: tensor {name!r} has shape {header.shape}, expected {dim} columns "
                f"(cross_attention_dim of {CONFIG})"
            )


def _check_classes(folder: Path, key: str) -> None:
    """Raise ArtifactError unless a pipeline is Stable Diffusion 1 or 2, with each part of the expected class."""
    if not (folder / INDEX).exists():
        raise ArtifactError(f"{key}: {folder} has no {INDEX}; give the folder of a full pipeline")
    index = read_object(folder / INDEX, key)
    if index.get("_class_name") != PIPELINE:
        raise ArtifactError(
            f"{key}: {folder / INDEX} is of {index.get('_class_name')}, but only {PIPELINE} is supported"
        )
    for part, expected in CLASSES.items():
        entry = index.get(part)
        library, found = entry if isinstance(entry, list) and len(entry) == 2 else (None, entry)
        # Older versions of transformers use this name for one of two equivalent tokenizers.
        if str(found).removesuffix("Fast") != expected:
            raise ArtifactError(
                f"{key}: {folder / INDEX} has the {part} {found}, but only {expected} is supported "
                "(pipelines of Stable Diffusion 1 and 2)"
            )
        if library != LIBRARIES[part]:
            raise ArtifactError(
                f"{key}: {folder / INDEX} takes {part} from {library!r}, but only {LIBRARIES[part]} is supported, and "
                "no code of a pipeline's own"
            )
