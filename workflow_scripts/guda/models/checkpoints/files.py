"""The files with a network's weights in a folder written elsewhere, and the tensors in their headers.

Only JSON and the headers of safetensors files are read, so that the workflow can check them when it plans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from guda.core.errors import ArtifactError
from guda.core.files import regular
from guda.core.json_text import parse_json
from guda.core.paths import CONFIG

SUFFIX = ".safetensors"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"  # the two libraries' names for a network's weights
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl")
FLOATS = ("F32", "F16", "BF16", "F64")
COUNTERS = ("I64", "I32")  # besides the weights in transformers' networks: positions, numbers of batches
ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Checkpoint:
    """A network's files: its settings, the weights in one file or several, and the index of their tensors."""

    stem: str  # the library's name for weights
    config: Path
    weights: list[Path]
    index: Path | None = None
    variant: str | None = None  # as from save_pretrained(variant="fp16")

    @property
    def files(self) -> list[Path]:
        """All files that the network depends on."""
        return [self.config, *([self.index] if self.index else []), *self.weights]

    @property
    def types(self) -> tuple[str, ...]:
        """The allowed types of tensors, by their safetensors names."""
        return (*FLOATS, *COUNTERS) if self.stem == TRANSFORMERS else FLOATS

    def current_name(self, tensor: str) -> str:
        """A tensor's name as the library writes it now.

        torch.compile and DataParallel add prefixes, and older diffusers files name the attention layers differently.
        """
        tensor = re.sub(r"^(module\.)+", "", re.sub(r"(^|\.)_orig_mod\.", r"\1", tensor))
        if self.stem == TRANSFORMERS:
            return tensor  # transformers maps its own older names
        return re.sub(rf"\.({'|'.join(ATTENTION)})\.(?=weight$|bias$)", lambda old: f".{ATTENTION[old[1]]}.", tensor)

    @property
    def named(self) -> Path:
        """The file named in errors about the weights."""
        return self.index or self.weights[0]


class TensorHeader(NamedTuple):
    dtype: str  # safetensors' name
    shape: list[int]
    file: Path


def found_checkpoint(folder: Path, stem: str, key: str) -> Checkpoint:
    """The files of a network in a folder written by `save_pretrained` of diffusers or transformers (see `stem`).

    A single weights file takes precedence over shards, and both over a variant. `key` names the setting in errors.
    Raises ArtifactError for a folder without a network, weights that would have to be unpickled, or several variants.
    """
    config, whole, index = folder / CONFIG, folder / f"{stem}{SUFFIX}", folder / f"{stem}{SUFFIX}.index.json"
    for file in (config, whole, index):
        if file.exists() and not file.is_file():
            raise ArtifactError(f"{key}: {file} is not a regular file; give a folder that save_pretrained wrote")
    if not config.is_file():
        raise ArtifactError(f"{key}: {folder} has no {CONFIG}; give a folder that save_pretrained wrote")
    if whole.is_file():
        return Checkpoint(stem, config, [whole])
    if index.is_file():
        return Checkpoint(stem, config, _shards(index, key), index)
    variants = _variants(folder, stem)
    if not variants:
        raise ArtifactError(f"{key}: {folder} has no {whole.name}{_instead(folder, stem)}")
    if len(variants) > 1:
        raise ArtifactError(
            f"{key}: {folder} has no {whole.name}, but several variants of it ({', '.join(sorted(variants))}); keep "
            "one of them in the folder"
        )
    ((variant, file),) = variants.items()
    if file.suffix == ".json":
        return Checkpoint(stem, config, _shards(file, key), file, variant)
    return Checkpoint(stem, config, [file], variant=variant)


def _variants(folder: Path, stem: str) -> dict[str, Path]:
    """Variants of the weights by name: the weights file, or the index of the shards."""
    stem, suffix = re.escape(stem), re.escape(SUFFIX)
    found: dict[str, Any] = {}
    for pattern in (rf"{stem}\.(?P<variant>\w+){suffix}", rf"{stem}{suffix}\.index\.(?P<variant>\w+)\.json"):
        for file in sorted(folder.iterdir()):
            match = re.fullmatch(pattern, file.name)
            if match and file.is_file():
                found.setdefault(match["variant"], file)
    return found


def _shards(index: Path, key: str) -> list[Path]:
    """The files that an index names, sorted. Raises ArtifactError unless all are beside it."""
    places = read_object(index, key).get("weight_map")
    if not (isinstance(places, dict) and places and all(isinstance(name, str) for name in places.values())):
        raise ArtifactError(
            f"{key}: {index} has no weight_map that names the file of each tensor; save the model again, with "
            "save_pretrained"
        )
    files = []
    for name in sorted(set(places.values())):
        if Path(name).name != name or not name.endswith(SUFFIX) or not name.isprintable():
            raise ArtifactError(f"{key}: {index} names the file {name!r}; only safetensors files beside it are read")
        if not (index.parent / name).is_file():
            raise ArtifactError(f"{key}: {index} names {name}, which is missing; copy all files of the model")
        files.append(index.parent / name)
    return files


def _instead(folder: Path, stem: str) -> str:
    """What a folder has instead of readable weights, and what to do about it."""
    shards = sorted(folder.glob(f"{stem}*-of-*{SUFFIX}"))
    if shards:
        return f"; {shards[0].name} is a part of it, but without {stem}{SUFFIX}.index.json; copy all files of the model"
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if not pickles:
        return "; give a folder that save_pretrained wrote"
    return (
        f"; {pickles[0]} would have to be unpickled, which can run any code. If you trust it, open it with "
        "from_pretrained(..., use_safetensors=False), and save it with save_pretrained(..., safe_serialization=True)"
    )


def weights_alone(folder: Path) -> Path | None:
    """The first weights file in a folder that has none of the files that `save_pretrained` writes."""
    if any(path.is_dir() or path.suffix == ".json" or path.name.startswith(DIFFUSERS) for path in folder.iterdir()):
        return None
    return next((file for pattern in (f"*{SUFFIX}", *PICKLES) for file in sorted(folder.glob(pattern))), None)


def single_file_advice(file: Path, key: str, kind: str) -> str:
    """The error for a file in place of a folder: how to make a folder of a network or pipeline (`kind`)."""
    trusted = "" if file.suffix == SUFFIX else ", if you trust the file, since reading it can run any code"
    if kind == "UNet2DModel":
        load = "safetensors.torch.load_file({})" if file.suffix == SUFFIX else "torch.load({}, weights_only=True)"
        steps = (
            f"unet = diffusers.UNet2DModel(...), with the arguments it was trained with; "
            f"unet.load_state_dict({load.format(repr(str(file)))}); "
            f"unet.save_pretrained({file.stem!r}, safe_serialization=True)"
        )
    elif kind == "StableDiffusionPipeline":
        steps = (
            f"from diffusers import StableDiffusionPipeline; StableDiffusionPipeline.from_single_file({str(file)!r})"
            f".save_pretrained({file.stem!r}, safe_serialization=True)"
        )
    else:
        steps = f"{kind}.from_pretrained(...).save_pretrained({file.stem!r}), and the same for the model's processor"
    return f"{key}: {str(file)!r} is a file, but a folder is needed; make one in Python{trusted}: {steps}"


def read_headers(checkpoint: Checkpoint, key: str) -> dict[str, TensorHeader]:
    """The header entries of the weights' tensors, by current name.

    `key` names the setting in errors. Raises ArtifactError for an incomplete file, a tensor of an unsupported type or
    that occurs twice, and shards that do not match their index.
    """
    import safetensors

    found: dict[str, TensorHeader] = {}
    places = {} if checkpoint.index is None else dict(read_object(checkpoint.index, key)["weight_map"])
    for file in checkpoint.weights:
        try:
            with safetensors.safe_open(regular(file), framework="np") as opened:
                parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
                headers = {name: TensorHeader(part.get_dtype(), part.get_shape(), file) for name, part in parts.items()}
        except (safetensors.SafetensorError, OSError) as error:
            raise ArtifactError(f"{key}: {file} is not a readable safetensors file ({error})") from None
        for name, header in headers.items():
            if checkpoint.index is not None and places.pop(name, None) != file.name:
                raise ArtifactError(
                    f"{key}: {file}: tensor {name!r} is not where {checkpoint.index.name} has it; save the model again"
                )
            if header.dtype not in checkpoint.types:
                raise ArtifactError(
                    f"{key}: {file}: tensor {name!r} is of type {header.dtype}, but only "
                    f"{', '.join(FLOATS)} are read; save the model unquantized, as model.float().save_pretrained(...)"
                )
            current = checkpoint.current_name(name)
            if current in found:
                other = found[current].file.name
                raise ArtifactError(f"{key}: {file}: tensor {name!r} occurs twice, also in {other}; save it once")
            found[current] = header
    for name, file in sorted(places.items()):
        raise ArtifactError(f"{key}: {checkpoint.index} has tensor {name!r} in {file}, which lacks it; save it again")
    return found


def check_shapes(
    headers: dict[str, TensorHeader], expected: Iterable[tuple[str, list[int]]], where: Path, key: str
) -> None:
    """Raise ArtifactError unless the `expected` tensors are there, with their shapes. Errors name the file `where`."""
    for name, shape in expected:
        if name not in headers:
            raise ArtifactError(f"{key}: {where} lacks tensor {name!r}, which {CONFIG} beside it requires")
        if headers[name].shape != shape:
            found, file = headers[name].shape, headers[name].file
            raise ArtifactError(f"{key}: {file}: tensor {name!r} has shape {found}, expected {shape} by {CONFIG}")


def read_object(file: Path, key: str) -> dict[str, Any]:
    """A configuration of diffusers or transformers. `key` names the setting in errors. Raises ArtifactError."""
    try:
        found = parse_json(regular(file).read_text(encoding="utf-8"), finite=False)  # schedulers have an infinite bound
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{key}: {file} is not a configuration of diffusers or transformers: {error}") from None
    if not isinstance(found, dict):
        raise ArtifactError(
            f"{key}: {file} is not a configuration of diffusers or transformers: it holds no JSON object"
        )
    return found
