"""A cache of values of individual samples, so that only new samples or diffusion steps need computing.

A term belongs to a model, a sample and a step, whichever file needs it, and is keyed by the content of all three: a
value computed by one job is found by every other, for another query set, another schedule or another experiment.
The files that jobs write are complete without the store, which may be deleted, shared or cleared at any time.
"""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import load_tensors, made_for, not_finite, save_tensors, sha256_file
from guda.core.errors import ArtifactError
from guda.core.records import Elapsed, Stopwatch
from guda.core.spec import Spec, digest

if TYPE_CHECKING:
    import torch

    Array = np.ndarray | torch.Tensor

KEY_BYTES = 16
SECONDS_BETWEEN = 120.0  # of work that a kill may lose
# From rows of samples and indices of columns to their values, in parts [m, columns, ...] of consecutive rows.
Compute = Callable[[list[int], list[int]], Iterable[np.ndarray]]


class StoredSpec(Spec):
    stage, version = "stored", 1
    values: str  # stage and version of the jobs that compute them
    files: dict[str, str]  # sha256 of each file that they are computed from
    settings: str  # the rest of the job's spec except the samples and the columns, as JSON

    @classmethod
    def of(cls, spec: Spec, files: dict[str, str | Path], without: Iterable[str]) -> StoredSpec:
        """The key of what a job of `spec` computes from these files; `without` lists fields, or SECTION.FIELD."""
        settings = spec.model_dump(mode="json")
        for name in without:
            *section, last = name.split(".")
            (settings[section[0]] if section else settings).pop(last)
        return cls(
            values=f"{spec.stage} {spec.version}",
            files={name: sha256_file(file) for name, file in files.items()},
            settings=json.dumps(settings, sort_keys=True),
        )


def sample_keys(ids: Sequence[str], *contents: Array | None) -> np.ndarray:
    """The key of each sample, uint8 [n, KEY_BYTES]: a hash of its id and of its row in each of the contents.

    The id is included because the noise depends on it. `contents` are arrays or tensors [n, ...], such as images and
    their conditioning; None is skipped.
    """
    arrays = [np.ascontiguousarray(array) for array in contents if array is not None]
    described = json.dumps([[str(array.dtype), array.shape[1:]] for array in arrays]).encode()
    keys = np.empty((len(ids), KEY_BYTES), np.uint8)
    for row, sample in enumerate(ids):
        hashed = hashlib.sha256(described + b"\0" + sample.encode() + b"\0")
        for array in arrays:
            hashed.update(array[row].tobytes())
        keys[row] = np.frombuffer(hashed.digest()[:KEY_BYTES], np.uint8)
    return keys


class Store:
    """The values of one spec in `folder`; '' disables the store, so that nothing is found or kept."""

    def __init__(self, folder: str, spec: StoredSpec):
        self._root = Path(folder).expanduser() if folder else None
        self._spec = spec

    def complete(
        self, keys: np.ndarray, columns: Sequence[int], compute: Compute, together: int = 1
    ) -> tuple[np.ndarray, Elapsed]:
        """Values [n, columns, ...] of all samples, and their total cost, whenever they were computed.

        `keys` come from `sample_keys`; `columns` are numbers, such as diffusion steps, or [0] for one value per sample.
        Missing values are computed, and saved every SECONDS_BETWEEN and on interruption, in multiples of `together`
        samples, so that a job that resumes has the same batches and therefore the same rounding.
        """
        table = _Table(keys, columns)
        for file in self._files():
            self._read(file, table)
        if known := int(table.known.sum()):
            print(f"taken from the store: {known} of {table.known.size} values", file=sys.stderr)
        for rows, places in table.missing():
            self._compute(table, rows, places, compute, together)
        return table.values, table.elapsed

    def _compute(self, table: _Table, rows: list[int], places: list[int], compute: Compute, together: int) -> None:
        """Fill these rows and columns of the table, and save them."""
        kept, done, stopwatch = 0, 0, Stopwatch()
        try:
            for part in compute(rows, places):
                table.put(rows[done : done + len(part)], places, np.asarray(part))
                done += len(part)
                whole = done // together * together
                if whole > kept and stopwatch.elapsed()["seconds"] > SECONDS_BETWEEN:
                    self._keep(table, rows[kept:whole], places, stopwatch.elapsed())
                    kept, stopwatch = whole, Stopwatch()
            if done != len(rows):
                raise ValueError(f"only {done} of {len(rows)} samples were computed")
        finally:
            whole = done if done == len(rows) else done // together * together
            self._keep(table, rows[kept:whole], places, stopwatch.elapsed())

    def _keep(self, table: _Table, rows: list[int], places: list[int], elapsed: Elapsed) -> None:
        """Save the values in these rows and columns, replacing the file of any earlier save of the same ones.

        If the store cannot be written to, a message is printed and the job goes on. Values that are not finite are not
        saved here; they are rejected when the final file is written.
        """
        table.spend(elapsed, 1)
        if self._root is None or not rows:
            return
        keys, columns, values = table.keys[rows], table.columns[places], table.values[np.ix_(rows, places)]
        if not_finite(values, "values"):
            return
        name, costs = digest(keys.tobytes() + columns.tobytes()), {key: repr(cost) for key, cost in elapsed.items()}
        try:
            folder, mode = self._made_folder()
            file = folder / f"{name}.safetensors"
            save_tensors(file, {"keys": keys, "columns": columns, "values": values}, self._spec, **costs)
            file.chmod(0o600 | mode & 0o044)
        except (ArtifactError, OSError) as error:
            print(f"not kept in the store: {error}", file=sys.stderr)

    def _read(self, file: Path, table: _Table) -> None:
        """Copy from a file the values that the table lacks. A damaged file is reported and skipped."""
        try:
            tensors, metadata = load_tensors(file, self._spec.digest(), "np")
        except ArtifactError as error:
            print(f"not taken from the store: {error}", file=sys.stderr)
            return
        share = table.take(**tensors)
        elapsed = Elapsed(seconds=float(metadata["seconds"]), cpu_seconds=float(metadata["cpu_seconds"]))
        table.spend(elapsed, share)

    def _files(self) -> list[Path]:
        """The files of this spec, except those still being written."""
        if self._root is None:
            return []
        return sorted(path for path in self._address.glob("*.safetensors") if not path.name.startswith("."))

    @property
    def _address(self) -> Path:
        return Path(str(self._root)) / self._spec.digest()

    def _made_folder(self) -> tuple[Path, int]:
        """The folder of this spec, created with the permissions of the store's own folder, and these."""
        root = self._address.parent
        root.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(root.stat().st_mode)
        if not self._address.exists():
            self._address.mkdir(exist_ok=True)
            self._address.chmod(mode)
        return self._address, mode


def stored(folder: str | Path) -> Iterator[tuple[Path, StoredSpec | None]]:
    """The contents of a store: each folder of values with its key, or None if no file in it can tell."""
    for address in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        texts = filter(None, map(made_for, sorted(address.glob("*.safetensors"))))
        yield address, next(map(StoredSpec.parse, texts), None)


class _Table:
    """Values of samples by columns, some of them known."""

    def __init__(self, keys: np.ndarray, columns: Sequence[int]):
        self.keys, self.columns = keys, np.array(columns, np.int64)
        self.known = np.zeros((len(keys), len(columns)), bool)
        self.values = np.empty((len(keys), len(columns), 0), np.float32)
        self.elapsed = Elapsed(seconds=0.0, cpu_seconds=0.0)
        self._rows = {key.tobytes(): row for row, key in enumerate(keys)}
        self._places = {column: place for place, column in enumerate(self.columns.tolist())}

    def put(self, rows: list[int], places: list[int], part: np.ndarray) -> None:
        """Fill in a part [rows, places, ...]."""
        if not self.known.any():
            self.values = np.zeros((*self.known.shape, *part.shape[2:]), part.dtype)
        self.values[np.ix_(rows, places)] = part
        self.known[np.ix_(rows, places)] = True

    def take(self, keys: np.ndarray, columns: np.ndarray, values: np.ndarray) -> float:
        """Fill in the unknown ones among values [m, c, ...] of samples and columns; return the fraction filled in."""
        mine = [(self._rows[key.tobytes()], row) for row, key in enumerate(keys) if key.tobytes() in self._rows]
        taken = 0
        for place, theirs in (
            (self._places[step], at) for at, step in enumerate(columns.tolist()) if step in self._places
        ):
            new = [(row, other) for row, other in mine if not self.known[row, place]]
            if new:
                rows, others = map(list, zip(*new, strict=True))
                self.put(rows, [place], values[others, theirs : theirs + 1])
                taken += len(rows)
        return taken / (len(keys) * len(columns))

    def missing(self) -> list[tuple[list[int], list[int]]]:
        """Rows and the columns unknown in all of them: a pair for each distinct set of columns."""
        patterns, which = np.unique(~self.known, axis=0, return_inverse=True)
        return [
            (np.flatnonzero(which.ravel() == number).tolist(), np.flatnonzero(pattern).tolist())
            for number, pattern in enumerate(patterns)
            if pattern.any()
        ]

    def spend(self, elapsed: Elapsed, share: float) -> None:
        """Add a share of the cost of computing some values."""
        self.elapsed = Elapsed(
            seconds=self.elapsed["seconds"] + share * elapsed["seconds"],
            cpu_seconds=self.elapsed["cpu_seconds"] + share * elapsed["cpu_seconds"],
        )
