"""Files that are whole or absent, know what they are, and are checked when read.

Writers go through a temporary file in the same folder that then takes the place of the old one. Tensors carry the spec
of the job that made them and a checksum in the safetensors metadata. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from guda import __version__
from guda.errors import ArtifactError
from guda.paths import record_of
from guda.specs import Spec, digest

if TYPE_CHECKING:
    import pandas as pd
    import torch

    Array = np.ndarray | torch.Tensor

CURE = "Delete it and run snakemake again."


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends, and vanishes when it raises.

    Raises ArtifactError when the file cannot be written, as on a full disk.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise ArtifactError(f"{path}: cannot be written ({reason}). Mend that and run snakemake again.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image [C, H, W] with one channel (grey) or three (RGB)."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def read_csv(path: str | Path, numbers: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table with all values as text, whatever they look like, but for the columns `numbers` (empty: NaN)."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in numbers:
        frame[name] = [float(value) if value else float("nan") for value in frame[name]]
    return frame


def read_json(path: str | Path) -> Any:
    """Raises ArtifactError when the file is missing or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}). Run snakemake to make it.") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}). {CURE}") from None


def save_tensors(path: str | Path, tensors: dict[str, Array], spec: Spec, **metadata: str) -> None:
    """Write a safetensors file with the spec, the package version, a checksum and further metadata.

    Takes torch tensors and numpy arrays; torch is imported for the former only. The same content gives the same bytes.
    """
    from safetensors import SafetensorError

    metadata |= {"format": "pt", "spec": spec.canonical(), "guda_version": __version__}
    metadata["checksum"] = checksum(tensors, metadata)
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors.numpy import save_file
    else:
        from safetensors.torch import save_file
        from torch import as_tensor

        tensors = {name: as_tensor(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        _sort_header(temporary)


def _sort_header(path: Path) -> None:
    """Sort a safetensors file's JSON header in place: the library writes metadata in an order of chance."""
    with path.open("rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.dumps(json.loads(file.read(size)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if len(header.encode()) > size:
            raise ValueError(f"{path}: the sorted header is longer than the one that safetensors wrote")
        file.seek(8)
        file.write(header.encode().ljust(size))


def load_tensors(
    path: str | Path, spec_digest: str | None = None, framework: Literal["pt", "np"] = "pt"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors file written here: its tensors (torch, or numpy without importing torch) and its metadata.

    Raises ArtifactError when it is missing, truncated, altered, or not of the expected spec.
    """
    import safetensors

    tensors = {}
    try:
        with safetensors.safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                tensors[name] = file.get_tensor(name)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file. Run snakemake to make it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}). {CURE}") from None
    if metadata.get("checksum") != checksum(tensors, metadata):
        raise ArtifactError(f"{path}: its content does not match its checksum; the file was damaged. {CURE}")
    check_spec(path, metadata.get("spec"), spec_digest)
    return tensors, metadata


def check_spec(path: str | Path, spec: str | None, expected: str | None) -> None:
    """Raise ArtifactError unless `spec`, read from `path`, has the expected digest (None: any spec will do)."""
    if expected is not None and (spec is None or digest(spec) != expected):
        raise ArtifactError(
            f"{path}: made for another configuration or another group than the one asked for "
            f"(its spec is {digest(spec) if spec else 'missing'}, expected {expected}). {CURE}"
        )


def made_for(path: str | Path) -> str | None:
    """The spec that a file was made for, as far as it or its record can tell; None when there is none to be read."""
    import safetensors

    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="np") as file:
                return (file.metadata() or {}).get("spec")
        described = json.loads((path if path.suffix == ".json" else Path(record_of(path))).read_text(encoding="utf-8"))
        return described.get("spec") if isinstance(described, dict) else None
    except (OSError, ValueError, safetensors.SafetensorError):
        return None  # absent, which snakemake sees; or damaged, which whoever reads it will say


def checksum(tensors: dict[str, Array], metadata: dict[str, str]) -> str:
    """SHA-256 over the metadata (but for the checksum itself) and the tensors' names, types, shapes and bytes."""
    described = {key: value for key, value in metadata.items() if key != "checksum"}
    result = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        result.update(f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{tuple(tensor.shape)}|".encode())
        if isinstance(tensor, np.ndarray):
            result.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8))
        else:
            import torch

            result.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return result.hexdigest()


def sha256_file(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_ids(ids: list[str]) -> np.ndarray:
    """Ids as one uint8 array (UTF-8, separated by newlines), so that a million fit beside their images."""
    return np.frombuffer("\n".join(ids).encode(), dtype=np.uint8).copy()


def unpack_ids(packed: Array) -> list[str]:
    return np.asarray(packed).tobytes().decode().split("\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
