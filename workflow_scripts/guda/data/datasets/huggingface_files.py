"""Checks that the files named in a Hugging Face dataset's folder are inside it and readable by the library.

Folders come from third parties. The `datasets` library follows the paths in README.md and state.json anywhere, into
other folders and over the network, so it gets to see these files only if everything that they name is in the folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import datasets
import yaml
from huggingface_hub import DatasetCard

from guda.core.errors import DataError, GudaError
from guda.core.files import regular
from guda.core.json_text import parse_json

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
CARD, STANDALONE_CARD = "README.md", ".huggingface.yaml"
PATHS = ("data_files", "data_dir")  # entries in a card's `configs` that name files


@contextlib.contextmanager
def reading(source: str | Path) -> Iterator[None]:
    """Turn whatever the library raises for damaged files of `source` into a DataError; it has no base error class."""
    try:
        yield
    except GudaError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{source}: not a readable dataset of save_to_disk or Parquet files ({reason})") from None


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep the library off the network."""
    before = {name: getattr(datasets.config, name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    try:
        for name in before:
            setattr(datasets.config, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(datasets.config, name, value)


def check_folder(source: str, folder: Path) -> tuple[str, ...]:
    """The links to other folders in a dataset's folder; the library does not read Parquet files behind these.

    Error messages call the dataset `source`. Raises DataError if the folder holds anything but regular files, names
    files outside of it, or has a damaged file among those that describe the dataset.
    """
    linked = []
    for directory, folders, files in os.walk(folder):
        linked += [
            str(Path(directory, name).relative_to(folder)) for name in folders if Path(directory, name).is_symlink()
        ]
        for file in files:
            path = Path(directory, file)
            if path.exists():  # a broken link is reported where the file is needed
                _check_regular(path)
    if (folder / STATE).is_file() and (folder / INFO).is_file():
        _check_saved(folder)
    elif (folder / SPLITS).is_file():
        for split in _entry(folder / SPLITS, "splits", list):
            if not isinstance(split, str) or split in ("", ".") or len(PurePosixPath(split).parts) != 1:
                raise DataError(f"{folder / SPLITS}: its split {split!r} is not a folder name; save it again")
            _check_inside(split, folder / SPLITS)
            _check_saved(folder / split)
    else:
        script = folder / f"{folder.resolve().name}.py"
        if script.is_file():
            raise DataError(
                f"{source}: {script.name} is a loading script, which is never run; save the dataset as Parquet"
            )
    for name in (CARD, STANDALONE_CARD):
        if (folder / name).is_file():
            _check_card(folder / name)
    return tuple(sorted(linked))


def image_in(folder: Path, path: str, name: str) -> Path:
    """The file that a row names as its image; `name` is the row in error messages. Raises DataError if it is outside.

    Relative paths count from the dataset's folder.
    """
    where, cure = f"{name}: its image is {path!r}", "put the images themselves into the dataset"
    if _is_address(path):
        raise DataError(f"{where}, a URL, which is never opened; {cure}")
    try:
        file, inside = (folder / path).resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # the latter for circular links
        raise DataError(f"{where}, which cannot be read ({error}); {cure}") from None
    if not file.is_relative_to(inside):
        raise DataError(f"{where}, which is outside of {str(folder)!r}; {cure}")
    return file


def _check_regular(path: Path) -> None:
    try:
        regular(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); remove it") from None


def _check_saved(folder: Path) -> None:
    """Raise DataError unless a folder's state.json names files in it, and its dataset_info.json has features."""
    for name in (STATE, INFO):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: has no {name}; save the dataset again with save_to_disk")
    _entry(folder / INFO, "features", dict)
    for entry in _entry(folder / STATE, "_data_files", list):
        named = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(named, str):
            raise DataError(f"{folder / STATE}: its '_data_files' is not a list of file names; save the dataset again")
        _check_inside(named, folder / STATE)
        if (folder / named).is_dir():
            raise DataError(f"{folder / STATE}: names {named!r}, which is not a file; save the dataset again")
        if (folder / named).exists():  # behind a link to a folder
            _check_regular(folder / named)


def _entry(file: Path, key: str, kind: type) -> Any:
    """A JSON object's value under a key. Raises DataError unless it is of that kind."""
    try:
        value = parse_json(regular(file).read_text(encoding="utf-8"), finite=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable JSON ({error}); save the dataset again with save_to_disk") from None
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise DataError(f"{file}: lacks the {key!r} that save_to_disk writes; save the dataset again")
    return found


def _check_card(file: Path) -> None:
    """Raise DataError unless the YAML of a dataset's card is readable and names only files in the card's folder."""
    try:
        text = file.read_text(encoding="utf-8")
        found = (yaml.safe_load(text) or {}) if file.name == STANDALONE_CARD else DatasetCard(text).data
        configs = found.get("configs") or []
        named = [path for each in configs for path in (each.get("data_dir"), *_paths(each.get("data_files")))]
    except Exception as error:  # from YAML, its recursion, the library, or values that are neither mappings nor lists
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{file}: its YAML cannot be read ({reason}); fix it, or remove the file") from None
    for path in named:
        if path is not None:
            _check_inside(path, file)


def _paths(data_files: Any) -> list[str]:
    """The paths in a card's `data_files`: a string, or a list of strings or of objects with one or more in `path`."""
    if data_files is None or isinstance(data_files, str):
        return [data_files] if data_files else []
    found = []
    for each in data_files:
        path = each["path"] if isinstance(each, dict) else each
        found += path if isinstance(path, list) else [path]
    return found


def _is_address(path: str) -> bool:
    return "://" in path or "::" in path  # the latter chains file systems


def _check_inside(path: Any, file: Path) -> None:
    """Raise DataError if `path`, named by `file`, may lead out of the folder."""
    if not isinstance(path, str):
        raise DataError(f"{file}: names a {type(path).__name__} in place of a path; fix it, or remove the file")
    if _is_address(path):
        raise DataError(f"{file}: names {path!r}, a URL, which is never opened; put the files into the folder")
    pure = PureWindowsPath(path)  # knows both kinds of slashes
    if pure.root or pure.drive or ".." in pure.parts:
        raise DataError(f"{file}: names {path!r}, which is outside of the folder; put the files into it")
