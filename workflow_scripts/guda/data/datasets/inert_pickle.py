"""Reads a pickle as data: the calls that it requests are recorded, never executed.

A pickle is a program that may call any function. Here, only numbers, text, lists and mappings are loaded, and numpy
arrays of bytes, which are built afterwards from the recorded calls; numpy's own functions, which trust their input,
never see it. A pickle that names anything else is rejected.
"""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from guda.core.errors import DataError
from guda.core.files import regular

ADMITTED = {
    "numpy.core.multiarray._reconstruct",  # before numpy 2
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
}


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a pickle of Python 2 or 3: keys as str, uint8 arrays as numpy's, strings of Python 2 as bytes.

    Raises DataError for a pickle that is damaged, not a mapping, or contains anything but data.
    """
    try:
        with regular(path).open("rb") as file:
            value = _Unpickler(file, path).load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle may run into any of them
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: not a readable pickle ({reason}); download it again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a mapping, found {type(value).__name__}; download it again")
    return {
        key.decode(errors="replace") if isinstance(key, bytes) else str(key): _array(each, path)
        if isinstance(each, _Recorded)
        else each
        for key, each in value.items()
    }


class _Recorded:
    """A global that a pickle names, with the arguments and the state that it was to be called with."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple = ()):
        self.name, self.arguments, self.state = name, arguments, None

    def __call__(self, *arguments: Any) -> _Recorded:
        return _Recorded(self.name, arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path):
        super().__init__(file, fix_imports=False, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> _Recorded:
        if f"{module}.{name}" not in ADMITTED:
            raise DataError(
                f"{self._path}: a pickle that names {module}.{name}, which is not data; nothing was called. "
                "Download the file again from its publisher"
            )
        return _Recorded(f"{module}.{name}")


def _array(value: _Recorded, path: Path) -> np.ndarray:
    """The uint8 array that a call of numpy's `_reconstruct` with this state describes. Raises DataError for others."""
    match value.state:
        case (_, tuple(shape), _Recorded(name="numpy.dtype", arguments=("u1" | b"u1", *_)), order, bytes(content)):
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                return np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if order else "C")
    raise DataError(f"{path}: holds an array that is damaged or not of unsigned bytes; download it again")
