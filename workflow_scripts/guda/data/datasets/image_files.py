"""Image files in a folder: which files count, and what is in them."""

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

FORBIDDEN = set('\n\r\t"')  # ids stand one a line
TABLES = (".csv", ".tsv", ".tab", ".parquet", ".json", ".jsonl", ".ndjson")  # beside images; nobody takes these for one
NAMED = 5  # files that a note names


class Listing(NamedTuple):
    """What lies under a folder, as paths relative to it, with '/', sorted.

    `images` are files with the suffix of an image, `others` all other files, and `repeated` the links to a folder that
    is read under another name, or that the folder itself lies in.
    """

    images: list[str]
    others: list[str]
    repeated: list[str]

    def notes(self, folder: Path, key: str) -> tuple[str, ...]:
        """What the user should know of that which is left out."""
        found = []
        if self.others:
            found.append(f"{key}: files in {str(folder)!r} left out, no images by their suffix: {some(self.others)}")
        if self.repeated:
            found.append(
                f"{key}: links in {str(folder)!r} left out, to folders that are read already: {some(self.repeated)}"
            )
        return tuple(found)


def some(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"


def list_images(folder: str | Path, key: str) -> Listing:
    """The images under a folder, and what is beside them. `key` names the setting in errors.

    Links to folders are followed, each folder being read once. Hidden files and folders are passed over.
    Raises DataError for a folder that cannot be read, holds no image, or has a file whose name cannot be an id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{key}: {str(folder)!r} is no folder")
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
            raise DataError(f"{key}: the file name {name!r} holds a character of {sorted(FORBIDDEN)}; rename it")
        if any("\ud800" <= character <= "\udfff" for character in name):  # how Python shows bytes that are no UTF-8
            raise DataError(f"{key}: the file name {name!r} is no UTF-8; rename it")
    return Listing(images, others, sorted(repeated))


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """Paths of the files under a folder, and of the links in it that lead to a folder that is read already.

    Folders come before links to folders, so that each is read under its own name where it has one here, and a circle
    of links ends. Raises OSError.
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
        return None  # whoever reads it says why


def contents(folder: str | Path, names: Sequence[str]) -> Iterator[tuple[str, bytes | DataError]]:
    """What errors call each file, and its bytes, or the DataError that says why it cannot be read."""
    for name in names:
        path = Path(folder) / name
        try:
            yield str(path), regular(path).read_bytes()
        except OSError as error:
            yield str(path), DataError(f"{path}: cannot be read ({error.strerror}); mend or remove it")
