"""Files that are complete or absent, describe themselves, and are checked when read.

Writers write a temporary file in the same folder, which then replaces the old one. Tensors carry the spec of the job
that made them and a checksum in the safetensors metadata. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np

from guda import __version__
from guda.core.errors import ArtifactError
from guda.core.files import regular
from guda.core.json_text import parse_json
from guda.core.paths import record_of
from guda.core.spec import Spec, digest

if TYPE_CHECKING:
    import pandas as pd
    import torch

    Array = np.ndarray | torch.Tensor

ROWS = 2**18  # rows of a table read at a time
CURE = "Delete it and run snakemake again."
DIVERGED = "The model that they belong to, or that computed them, has diverged: lower its learning rate."
ANEW = "Then delete this file and the model's folder, and run snakemake again."
# numpy's types by their safetensors names, in the order in which safetensors lays tensors out.
TYPES = {"I64": "int64", "F64": "float64", "F32": "float32", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
_NAMES = {dtype: name for name, dtype in TYPES.items()}


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that replaces it when the block ends, and is removed if the block raises.

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
        raise ArtifactError(f"{path}: cannot be written ({reason}). Fix this and run snakemake again.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, frame: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
    """Write a table, which may come in parts with the same columns and is then never held in memory as a whole."""
    import pandas as pd

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for number, part in enumerate([frame] if isinstance(frame, pd.DataFrame) else frame):
            part.to_csv(file, index=False, header=number == 0, lineterminator="\n")


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 image [C, H, W] with one channel (gray) or three (RGB)."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def read_csv(path: str | Path, numbers: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table with all values as text, except the columns `numbers` if it has them.

    Empty values in these become NaN.
    """
    import pandas as pd

    frame = pd.read_csv(regular(path), dtype=str, keep_default_na=False)
    for name in frame.columns.intersection(list(numbers)):
        frame[name] = [float(value) if value else float("nan") for value in frame[name]]
    return frame


def read_long_csv(path: str | Path, names: tuple[str, ...], numbers: tuple[str, ...]) -> pd.DataFrame:
    """Read those of these columns that a table of millions of rows has, with its few distinct names as categories.

    Empty numbers become NaN. A row takes at most four bytes per name and eight per number.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string())) | dict.fromkeys(numbers, pa.float64())
    present = pd.read_csv(regular(path), nrows=0).columns.intersection(list(types)).tolist()
    frame = csv.read_csv(
        path,
        csv.ReadOptions(use_threads=False),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=types, include_columns=present, null_values=[""]),
    ).to_pandas()
    pa.default_memory_pool().release_unused()  # else kept for the next table
    return frame


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises ArtifactError when it is missing or not valid JSON (see `parse_json`)."""
    try:
        return parse_json(regular(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}). Run snakemake to make it.") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}). {CURE}") from None


class Stream(NamedTuple):
    """A tensor written in `parts`, in C order, and never held in memory as a whole."""

    dtype: str
    shape: tuple[int, ...]
    parts: Iterable[np.ndarray]


def save_tensors(path: str | Path, tensors: Mapping[str, Array | Stream], spec: Spec, **metadata: str) -> None:
    """Write a safetensors file with the spec, the package version, a checksum and further metadata.

    Tensors are read once and not copied. Equal content gives equal bytes, in the layout of the safetensors library,
    which itself writes metadata in random order and needs all tensors at once. Raises FloatingPointError, and writes
    nothing, if a value is NaN or infinite.
    """
    metadata |= {"format": "pt", "spec": spec.canonical(), "guda_version": __version__}
    streams = {name: _stream(tensor) for name, tensor in tensors.items()}
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for name in sorted(streams, key=lambda name: (list(TYPES.values()).index(streams[name].dtype), name)):
        dtype, shape, _ = streams[name]
        begin, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    with replacing(path) as temporary, temporary.open("wb") as file:
        # The checksum is known once everything is written; until then zeros hold its place.
        start = _write_header(file, entries, metadata | {"checksum": 64 * "0"})
        written = {
            name: stream._replace(
                parts=_written(file, start, entries[name]["data_offsets"], _finite(path, name, stream))
            )
            for name, stream in streams.items()
        }
        _write_header(file, entries, metadata | {"checksum": checksum(written, metadata)})


def _stream(tensor: Array | Stream) -> Stream:
    if isinstance(tensor, Stream):
        return tensor
    array = tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()
    return Stream(array.dtype.name, array.shape, [array])


def _finite(path: str | Path, name: str, stream: Stream) -> Iterator[np.ndarray]:
    """Yield the parts of a tensor, after checking that they are finite."""
    for part in stream.parts:
        if problem := not_finite(part, name):
            raise FloatingPointError(f"{path} was not written: {problem}. {DIVERGED}")
        yield part


def not_finite(array: np.ndarray, name: str) -> str:
    """ "3 of 8 values of 'kl' are not finite", or '' if all are, as in an array of integers."""
    # Minimum and maximum are NaN if any value is and, unlike a mask, take no memory.
    if array.dtype.kind != "f" or array.size == 0 or (math.isfinite(array.min()) and math.isfinite(array.max())):
        return ""
    return f"{array.size - np.count_nonzero(np.isfinite(array))} of {array.size} values of {name!r} are not finite"


def _write_header(file: BinaryIO, entries: dict[str, Any], metadata: dict[str, str]) -> int:
    """Write a safetensors file's header, padded to a multiple of eight bytes; return the offset of the data."""
    header = entries | {"__metadata__": metadata}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    file.seek(0)
    file.write(len(text).to_bytes(8, "little") + text)
    return 8 + len(text)


def _written(file: BinaryIO, start: int, offsets: list[int], parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the parts of a tensor while writing each to its place in the file."""
    begin, end = offsets
    file.seek(start + begin)
    for part in parts:
        file.write(_bytes(part))
        yield part
    if file.tell() != start + end:
        raise ValueError(f"{file.name}: {file.tell() - start - begin} bytes of a tensor of {end - begin}")


def load_tensors(
    path: str | Path, spec_digest: str | None = None, framework: Literal["pt", "np"] = "pt"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors file written here: its tensors (torch, or numpy without importing torch) and its metadata.

    Tensors are memory-mapped: only the parts in use take memory, and the system can reclaim it. Raises ArtifactError
    when the file is missing, truncated, altered, or not of the expected spec, or when a value in it is NaN or infinite.
    """
    import safetensors

    try:
        with safetensors.safe_open(regular(path), framework="np"):  # rejects incomplete safetensors files
            tensors, metadata = _mapped(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file. Run snakemake to make it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}). {CURE}") from None
    if metadata.get("checksum") != checksum(tensors, metadata):
        raise ArtifactError(f"{path}: its content does not match its checksum; the file was damaged. {CURE}")
    check_spec(path, metadata.get("spec"), spec_digest)
    for name, tensor in tensors.items():
        if problem := not_finite(tensor, name):
            raise ArtifactError(f"{path}: {problem}. {DIVERGED} {ANEW}")
    if framework == "pt":
        import torch

        return {name: torch.from_numpy(array) for name, array in tensors.items()}, metadata
    return tensors, metadata


def tensor_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, from its header alone. Raises ArtifactError."""
    import safetensors

    try:
        with safetensors.safe_open(regular(path), framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}). {CURE}") from None


def _mapped(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a complete safetensors file, memory-mapped copy-on-write, and its metadata.

    The library would copy them for numpy.
    """
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="c"))
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    entries = json.loads(content[8:start].tobytes())
    metadata, tensors = entries.pop("__metadata__", {}), {}
    for name, entry in entries.items():
        if entry["dtype"] not in TYPES:
            raise OSError(f"tensor {name!r} has the unsupported type {entry['dtype']}")
        begin, end = entry["data_offsets"]
        tensors[name] = content[start + begin : start + end].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def check_tensors(path: str | Path, found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    """Raise ArtifactError unless the tensors read from `path` have the names, types and shapes of `wanted`."""
    for name in sorted(found.keys() ^ wanted.keys()):
        problem = "lacks tensor" if name in wanted else "has an unknown tensor"
        raise ArtifactError(f"{path}: {problem} {name!r}. {CURE}")
    for name, tensor in wanted.items():
        of_file, expected = (
            f"{str(each.dtype).removeprefix('torch.')} {[*each.shape]}" for each in (found[name], tensor)
        )
        if of_file != expected:
            raise ArtifactError(f"{path}: tensor {name!r} is {of_file}, expected {expected}. {CURE}")


def check_spec(path: str | Path, spec: str | None, expected: str | None) -> None:
    """Raise ArtifactError unless `spec`, read from `path`, has the expected digest (None: any spec will do)."""
    if expected is not None and (spec is None or digest(spec) != expected):
        raise ArtifactError(
            f"{path}: made for another configuration or group than the current one "
            f"(its spec is {digest(spec) if spec else 'missing'}, expected {expected}). {CURE}"
        )


def made_for(path: str | Path) -> str | None:
    """The spec that a file was made for, from the file or its record; None if none can be read."""
    import safetensors

    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(regular(path), framework="np") as file:
                return (file.metadata() or {}).get("spec")
        record = path if path.suffix == ".json" else record_of(path)
        described = parse_json(regular(record).read_text(encoding="utf-8"))
        return described.get("spec") if isinstance(described, dict) else None
    except (OSError, ValueError, safetensors.SafetensorError):
        return None  # absent, which snakemake sees, or damaged, which its reader will report


def checksum(tensors: Mapping[str, Array | Stream], metadata: dict[str, str]) -> str:
    """SHA-256 over the metadata (except the checksum itself) and the tensors' names, types, shapes and bytes."""
    described = {key: value for key, value in metadata.items() if key != "checksum"}
    result = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        dtype, shape, parts = _stream(tensors[name])
        result.update(f"{name}|{dtype}|{tuple(shape)}|".encode())
        for part in parts:
            result.update(_bytes(part))
    return result.hexdigest()


def _bytes(array: np.ndarray) -> memoryview:
    """An array's bytes in C order; copied only if the array is in another order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def sha256_file(path: str | Path) -> str:
    """Raise ArtifactError for a file that is missing, unreadable or not a regular file."""
    try:
        with regular(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}). Fix this and run snakemake again.") from None


def pack_ids(ids: list[str]) -> np.ndarray:
    """Ids as one uint8 array (UTF-8, separated by newlines), compact enough to store a million beside their images."""
    return np.frombuffer("\n".join(ids).encode(), dtype=np.uint8).copy()


def unpack_ids(packed: Array) -> list[str]:
    return np.asarray(packed).tobytes().decode().split("\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
