"""Annotation files in COCO's format, and error messages for invalid ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guda.core.errors import DataError
from guda.data.datasets.json_files import described, read_json

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """The content of a file that the setting `key` names; `kind` is what it should be. All raise DataError."""

    path: str
    key: str
    kind: str
    content: Any

    @classmethod
    def read(cls, path: str, key: str, kind: str) -> CocoFile:
        return cls(path, key, kind, read_json(path, key))

    @property
    def where(self) -> str:
        return f"{self.key}: {self.path!r}"

    def entries(self, name: str, needed: bool = True) -> list[Entry]:
        """The objects in the list `name`, which may only be absent if it is not `needed`."""
        if not isinstance(self.content, dict):
            raise self.problem("give one with `images` and `annotations`")
        if name not in self.content and not needed:
            return []
        found = self.value(self.content, name)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self.problem(f"its {name!r} is not a list of objects; give one with `images` and `annotations`")
        return found

    def value(self, entry: Entry, name: str) -> Any:
        if name not in entry:
            raise self.problem(f"{name!r} is missing")
        return entry[name]

    def text(self, entry: Entry, name: str) -> str:
        """A value that has to be a non-empty string."""
        value = self.value(entry, name)
        if not isinstance(value, str) or not value.strip():
            raise self.problem(f"expected a text for {name!r}, found {described(value)}")
        return value

    def number(self, entry: Entry, name: str = "id") -> str:
        """An id, a number or a string in the file, as a string."""
        value = self.value(entry, name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.problem(f"expected a number or a text for {name!r}, found {described(value)}")
        return str(value)

    def files(self) -> dict[str, str]:
        """The file name of each image by id, in the file's order."""
        files: dict[str, str] = {}
        for image in self.entries("images"):
            name = self.text(image, "file_name")
            if files.setdefault(number := self.number(image), name) != name:
                raise self.problem(f"{files[number]!r} and {name!r} have the same id {number}")
        return files

    def problem(self, found: str) -> DataError:
        return DataError(f"{self.where} is not a valid {self.kind}: {found}")
