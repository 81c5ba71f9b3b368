"""Image files in a folder: which files count as images, and their bytes."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError, DataError
from guda.core.files import regular
from guda.data.datasets.encoded import suffixes

FORBIDDEN = set('\n\r\t"')  # ids are stored one per line
TABLES = (".csv", ".tsv", ".tab", ".parquet", ".json", ".jsonl", ".ndjson")  # tables beside images, not worth a note
NAMED = 5  # files named in a note


class Listing(NamedTuple):
    """The contents of a folder, as sorted relative paths with '/'.

    `images` are files with the suffix of an image, `others` all other files, and `repeated` the links to a folder that
    is read under another name or contains this folder.
    """

    images: list[str]
    others: list[str]
    repeated: list[str]

    def notes(self, folder: Path, key: str) -> tuple[str, ...]:
        """Notes for the user on what is left out."""
        found = []
        if self.others:
            found.append(f"{key}: files in {str(folder)!r} left out, with no image suffix: {some(self.others)}")
        if self.repeated:
            found.append(
                f"{key}: links in {str(folder)!r} left out, to folders that were already read: {some(self.repeated)}"
            )
        return tuple(found)


def some(names: Sequence[str]) -> str:
    """The first few names, and the number of others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"


def list_images(folder: str | Path, key: str) -> Listing:
    """The images under a folder, and the files beside them. `key` names the setting in errors.

    Links to folders are followed, and each folder is read once. Hidden files and folders are skipped.
    Raises DataError for a folder that cannot be read, holds no images, or has a file whose name cannot be an id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{key}: {str(folder)!r} is not a folder")
    try:
        files, repeated = _walk(folder)
    except OSError as error:
        raise DataError(f"{key}: {error.filename!r} cannot be read ({error.strerror})") from None
    images, others = [], []
    for name in sorted(files):
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of a million names
        if suffix in suffixes():
            images.append(name)
        elif suffix not in TABLES:
            others.append(name)
    if not images:
        beside = f"; it holds {some(others)}" if others else ""
        raise DataError(
            f"{key}: {str(folder)!r} holds no images (looked for {', '.join(sorted(suffixes())[:8])} ...{beside})"
        )
    for name in images:
        if FORBIDDEN & set(name):
            raise DataError(f"{key}: the file name {name!r} contains one of {sorted(FORBIDDEN)}; rename it")
        if any("\ud800" <= character <= "\udfff" for character in name):  # how Python shows bytes that are not UTF-8
            raise DataError(f"{key}: the file name {name!r} is not UTF-8; rename it")
    return Listing(images, others, sorted(repeated))


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """Paths of the files under a folder, and of the links in it to folders that were already read.

    Folders come before links to folders, so that each is read under its own name if it has one here, and circular
    links end. Raises OSError.
    """
    above = [_identity(parent) for parent in folder.resolve().parents]
    seen, files, repeated = set(above), [], []
    folders = [""]
    links: list[str] = []
    while folders or links:
        inside = folders.pop() if folders else heapq.heappop(links)
        if (identity := _identity(folder / inside)) in seen:
            repeated.append(inside)
            continue
        seen.add(identity)
        with os.scandir(folder / inside) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{inside}/{entry.name}" if inside else entry.name
                if entry.name[0] == ".":
                    continue
                if entry.is_symlink() and Path(entry.path).is_dir():
                    heapq.heappush(links, path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    files.append(path)
    return files, repeated


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def digest_or_none(path: Path) -> str | None:
    """SHA-256 of a file; None for one that cannot be read."""
    try:
        return sha256_file(path)
    except ArtifactError:
        return None  # reading it will report why


def contents(folder: str | Path, names: Sequence[str]) -> Iterator[tuple[str, bytes | DataError]]:
    """Each file's name in error messages, and its bytes, or a DataError that says why it cannot be read."""
    for name in names:
        path = Path(folder) / name
        try:
            yield str(path), regular(path).read_bytes()
        except OSError as error:
            yield str(path), DataError(f"{path}: cannot be read ({error.strerror}); repair or remove it")
