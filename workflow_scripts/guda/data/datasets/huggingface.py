"""Images in a dataset of the `datasets` library: a folder written by save_to_disk, Parquet files, or a hub id.

Columns: id (`train-000123`: the split and the position in it) and the dataset's columns of text, numbers, booleans,
dates or classes (by name). Nested and binary columns are left out, and any named id or sha256.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from guda import config
from guda.core.errors import ConfigError, DataError
from guda.core.files import regular
from guda.core.hub import FORM, HUB_ID, downloaded
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset, chosen_rows
from guda.data.datasets.encoded import Encoded, readable_shape
from guda.data.datasets.huggingface_files import SPLITS, STATE, check_folder, image_in, offline, reading
from guda.data.datasets.image_files import some
from guda.data.datasets.raw_files import training_ids
from guda.data.datasets.soundness import faults, refusal
from guda.data.datasets.table_files import column_text, is_scalar

BATCH = 64  # rows whose encoded images are held in memory at once
RESERVED = ("id", "sha256")
HUB_FILES = ["*.parquet", "README.md"]  # README.md maps files to splits


@dataclass(frozen=True)
class Split:
    """`count` rows with these `features`; `batches(rows, columns)` yields the requested rows, ascending, in batches.

    Error messages call the dataset `source`; its files are in `folder`. Files behind the `linked` links to folders are
    not read.
    """

    source: str
    folder: Path
    features: datasets.Features
    count: int
    batches: Callable[[list[int], list[str]], Iterator[pa.Table]]
    linked: tuple[str, ...] = ()


def load(settings: config.Data) -> Dataset:
    split = _open(settings)
    image, columns = _image_column(split), _text_columns(split.features)
    ids = training_ids(split.count, settings.split)
    rows = chosen_rows(ids, settings.subset)
    ids = [ids[row] for row in rows]
    names, conversion = [f"{split.source}: {sample_id}" for sample_id in ids], Conversion.of(settings)

    digests: list[str | None] = []
    texts: dict[str, list[Any]] = {name: [] for name in columns}
    first: tuple[str, Any] | None = None
    for batch in split.batches(rows, [image, *columns]):
        for name in columns:
            texts[name] += _texts(batch[name], split.features[name], f"{split.source}: column {name!r}")
        for value in batch[image].to_pylist():
            row = len(digests)
            content = _encoded(value, split.folder, names[row])
            digests.append(hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else None)
            if first is None and (shape := readable_shape(names[row], content, conversion)):
                first = repr(ids[row]), shape

    def load_encoded(asked: Sequence[int]) -> Iterator[tuple[str, bytes | DataError]]:
        wanted = split.batches([rows[row] for row in asked], [image])
        values = (value for batch in wanted for value in batch[image].to_pylist())
        for row, value in zip(asked, values, strict=True):
            yield names[row], _encoded(value, split.folder, names[row])

    like, shape = first or ("", (0, 0, 0))
    encoded = Encoded(load_encoded, shape, like, conversion)
    if first is None or None in digests:
        raise refusal([fault for fault in faults(encoded, range(len(ids))) if fault], len(ids))
    notes = (f"{split.source}: links to folders are not followed here: {some(split.linked)}",) if split.linked else ()
    table = pd.DataFrame({"id": ids, "sha256": digests, **texts}, dtype=object)
    return Dataset.of_encoded("huggingface", table, encoded, notes)


def _open(settings: config.Data) -> Split:
    """The configured split. Raises DataError, and what `downloaded` raises."""
    if settings.hub is None:
        source, folder = settings.root, Path(settings.root)
        if not folder.is_dir():
            raise DataError(f"data.folder: {source!r} is not a folder")
    else:
        source = settings.hub
        if not HUB_ID.fullmatch(source):
            raise ConfigError(f"data.hub: {source!r} is not a {FORM.format('dataset')}")
        folder = downloaded(source, "dataset", HUB_FILES, "data.hub")
    saved = any((folder / name).is_file() for name in (SPLITS, STATE))
    linked = check_folder(source, folder)
    split = (_saved_split if saved else _parquet_split)(source, folder, settings.split)
    if not split.count:
        raise DataError(f"data.split: {settings.split!r} of {source!r} has no rows")
    return split if saved else replace(split, linked=linked)


def _saved_split(source: str, folder: Path, name: str) -> Split:
    """A split written by save_to_disk, memory-mapped; a Dataset without a split name is called train."""
    with reading(source), offline():
        found = datasets.load_from_disk(str(folder))
    splits = {str(found.split or "train"): found} if isinstance(found, datasets.Dataset) else found
    data = _named(splits, name, source)
    with reading(source):
        data.data.validate(full=True)  # in a damaged file, Arrow would follow arbitrary offsets

    def batches(rows: list[int], columns: list[str]) -> Iterator[pa.Table]:
        selected = data.select_columns(columns).with_format("arrow")
        with reading(source):
            for start in range(0, len(rows), BATCH):
                yield selected[rows[start : start + BATCH]]

    return Split(source, folder, data.features, len(data), batches)


def _parquet_split(source: str, folder: Path, name: str) -> Split:
    """A split of Parquet files, which the library assigns to splits by README.md or by name."""
    with reading(source), offline(), tempfile.TemporaryDirectory() as cache:
        path = str(folder.resolve())
        if datasets.get_dataset_default_config_name(path) is None:
            names = ", ".join(datasets.get_dataset_config_names(path))
            raise DataError(f"{source}: holds several datasets ({names}); set data.folder to the folder of one")
        builder = datasets.load_dataset_builder(path, cache_dir=cache)
    files = _named(builder.config.data_files, name, source)
    if any(Path(file).suffix != ".parquet" for file in files):
        raise DataError(f"{source}: split {name!r} is not in Parquet files; save it with save_to_disk or to_parquet")
    count, schema = 0, None
    for file in files:
        with reading(file), parquet.ParquetFile(file) as opened:
            count += opened.metadata.num_rows
            schema = schema or opened.schema_arrow
            if set(opened.schema_arrow.names) != set(schema.names):
                raise DataError(f"{file}: has different columns from {files[0]}; keep the files of one dataset")
    with reading(source):
        features = builder.info.features or datasets.Features.from_arrow_schema(schema)
    return Split(source, folder, features, count, lambda rows, columns: _parquet_rows(files, features, rows, columns))


def _parquet_rows(
    files: list[str], features: datasets.Features, rows: list[int], columns: list[str]
) -> Iterator[pa.Table]:
    """The rows, counted over all files; row groups that hold none of them are skipped."""
    schema = datasets.Features({name: features[name] for name in columns}).arrow_schema
    wanted, start = np.array(rows), 0
    for file in files:
        # So that the pages of a row group are read as needed, not all up front.
        with reading(file), parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
            for group in range(opened.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                if not len(_between(wanted, start, end)):
                    start = end
                    continue
                for batch in opened.iter_batches(BATCH, row_groups=[group], columns=columns):
                    taken = _between(wanted, start, start + len(batch)) - start
                    yield datasets.table.table_cast(pa.Table.from_batches([batch]).select(columns).take(taken), schema)
                    start += len(batch)


def _between(rows: np.ndarray, start: int, end: int) -> np.ndarray:
    """The ascending rows in [start, end)."""
    return rows[slice(*np.searchsorted(rows, [start, end]))]


def _named(splits: Mapping[str, Any], name: str, source: str) -> Any:
    """Raise DataError for an unknown split."""
    if name not in splits:
        raise DataError(f"data.split: {source!r} has no split {name!r}; known: {', '.join(map(str, splits))}")
    return splits[name]


def _image_column(split: Split) -> str:
    """The image column. Raises DataError unless there is exactly one."""
    names = [name for name, feature in split.features.items() if isinstance(feature, datasets.Image)]
    if not names:
        kinds = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in split.features.items())
        raise DataError(f"{split.source}: no column is an Image; found {kinds}. Cast one with cast_column")
    if len(names) > 1:
        raise DataError(f"{split.source}: the columns {', '.join(names)} are all Images; keep one")
    return names[0]


def _text_columns(features: datasets.Features) -> list[str]:
    return [field.name for field in features.arrow_schema if is_scalar(field.type) and field.name not in RESERVED]


def _texts(column: pa.ChunkedArray, feature: object, where: str) -> list[str | None]:
    """A column as text: classes by name, and -1, which the library writes for an unknown class, as None."""
    if not isinstance(feature, datasets.ClassLabel):
        return column_text(column)
    labels = [None if label == -1 else label for label in column.to_pylist()]
    for label in labels:
        if label is not None and not 0 <= label < len(feature.names):
            raise DataError(f"{where} holds {label}, but there are {len(feature.names)} class names")
    return [None if label is None else feature.names[label] for label in labels]


def _encoded(value: Any, folder: Path, name: str) -> bytes | DataError:
    """The encoded image in a row, or in the file that it names, or the error that says why there is none."""
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
    if content is not None:
        return content
    if path is None:
        return DataError(f"{name}: has no image; remove the row")
    try:
        return regular(image_in(folder, path, name)).read_bytes()
    except DataError as error:
        return error
    except OSError as error:
        return DataError(f"{name}: its image cannot be read ({error})")
