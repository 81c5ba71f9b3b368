"""Checkpoints shared between folders, experiments and users: one folder per spec in a common place.

A spec names everything that a model depends on, so its digest is the model's address; for an unlearned model with the
sha256 of the very checkpoint that it started from, since another processor's rounding gives another. What is fetched is
a copy, checked like any other artifact: results never depend on the cache staying where it is.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from guda.artifacts import CURE, load_tensors, replacing, sha256_file
from guda.errors import ArtifactError
from guda.health import warn
from guda.paths import MODEL_FILES, RECORD, STATE
from guda.records import read_record
from guda.specs import Spec


class ModelCache:
    """The cache in `folder`; '' is no cache, in which nothing is found and nothing is kept.

    `files` are those of a model, the weights last.
    """

    def __init__(self, folder: str, files: tuple[str, ...] = MODEL_FILES):
        self._files = files
        self._folder = Path(folder) / "models" if folder else None

    def fetch(self, model: str | Path, spec: Spec, parent_sha256: str = "") -> bool:
        """Copy the model of this spec into the folder `model`, if it is here. Raises ArtifactError when damaged."""
        source = self._address(spec, parent_sha256)
        if source is None or not source.is_dir():
            return False
        try:
            weights = source / self._files[-1]
            _, metadata = load_tensors(weights, spec.digest(), "np")
            if metadata.get("parent_sha256", "") != parent_sha256:
                raise ArtifactError(f"{weights}: unlearned from another base checkpoint")
            record = read_record(source / RECORD, spec.digest())
            for name in self._files:
                if record["outputs"].get(name) != sha256_file(source / name):
                    raise ArtifactError(f"{source / name}: not the file that its record describes")
        except (ArtifactError, OSError) as error:
            reason = str(error).removesuffix(CURE).rstrip(". ")
            raise ArtifactError(f"the cached model {source} is damaged ({reason}). Delete that folder.") from None
        for name in (*self._files, RECORD):
            with replacing(Path(model) / name) as temporary:
                shutil.copyfile(source / name, temporary)
        (Path(model) / STATE).unlink(missing_ok=True)
        print(f"taken from the cache: {source}", file=sys.stderr)
        if "health" in record:
            warn(record["health"], spec)
        return True

    def store(self, model: str | Path, spec: Spec, parent_sha256: str = "") -> None:
        """Keep a copy of a finished model; whoever comes second with the same one leaves the first in place.

        A cache that cannot be written to is no reason to lose the model: it is said, and that is all.
        """
        target = self._address(spec, parent_sha256)
        if target is None:
            return
        try:
            if not target.exists():
                self._copy(Path(model), target)
        except OSError as error:
            print(f"not kept in the cache: {error}", file=sys.stderr)

    def _copy(self, model: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            complete = Path(temporary) / "model"
            complete.mkdir()
            for name in (*self._files, RECORD):
                shutil.copyfile(model / name, complete / name)
            try:
                complete.rename(target)
            except OSError:
                if not target.is_dir():
                    raise

    def _address(self, spec: Spec, parent_sha256: str) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / "-".join(filter(None, [spec.digest(), parent_sha256[:20]]))
