"""File names in tables, which may be written differently from those in the folder."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from guda.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


FILES = ("file", "file_name")  # possible names of the column with the images' paths


def with_ids(table: pd.DataFrame) -> pd.DataFrame:
    """A table that identifies images by id, or by the files that their ids come from."""
    column = next((name for name in FILES if name in table.columns), None)
    return table if "id" in table.columns or column is None else table.rename(columns={column: "id"})


class FileNames:
    """Looks up the `known` names, paths with '/' inside a folder, by what a table writes.

    That may have backslashes, `./`, accents composed differently than in the file system, or begin with the path of
    `folder`. Exact matches take precedence.
    """

    def __init__(self, known: Collection[str], folder: Path | None = None):
        self.known = dict.fromkeys(known)
        self.folder = folder

    def find(self, name: str, where: str) -> str | None:
        """The known name that is meant; None if there is none. Raises DataError, beginning with `where`, for two."""
        if name in self.known:
            return name
        found = self._spelled.get(self._plain(name), [])
        if len(found) > 1:
            raise DataError(f"{where} lists {name!r}, but {found[0]!r} and {found[1]!r} both match; rename one of them")
        return found[0] if found else None

    def nearest(self, name: str) -> str:
        """The rest of an error message for an unknown name."""
        last = posixpath.basename(self._plain(name)).casefold()
        like = next((each for each in self.known if posixpath.basename(each).casefold() == last), None)
        return f"did you mean {like!r}?" if like else f"names there are like {next(iter(self.known))!r}"

    @cached_property
    def _spelled(self) -> dict[str, list[str]]:
        spelled = defaultdict(list)
        for name in self.known:
            spelled[unicodedata.normalize("NFC", name.strip())].append(name)
        return spelled

    @cached_property
    def _roots(self) -> list[str]:
        """The folder's path, as given and with symbolic links resolved."""
        if self.folder is None:
            return []
        paths = [posixpath.normpath(path.as_posix()) for path in (self.folder.absolute(), self.folder.resolve())]
        return [f"{unicodedata.normalize('NFC', path)}/" for path in paths]

    def _plain(self, name: str) -> str:
        name = posixpath.normpath(unicodedata.normalize("NFC", name.strip()).replace("\\", "/"))
        return next((name.removeprefix(root) for root in self._roots if name.startswith(root)), name)


def known_files(listed: Iterable[str | None], known: FileNames, where: str) -> list[str]:
    """The known name of each file. Raises DataError for a file without a name, unknown, or listed twice."""
    names: dict[str, None] = {}
    for name in listed:
        if name is None:
            raise DataError(f"{where} has a row without a value in 'file'; name its image")
        found = known.find(name, where)
        if found is None:
            raise DataError(
                f"{where} lists {name!r}, but there is no such image in {str(known.folder)!r}; {known.nearest(name)}"
            )
        if found in names:
            raise DataError(f"{where} lists {found!r} twice; keep one row")
        names[found] = None
    return list(names)
