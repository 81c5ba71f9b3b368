"""Checkpoints shared between folders, experiments and users: one folder per spec in a common place.

A spec names everything that a model depends on, so its digest is the model's address; for an unlearned model with the
sha256 of the very checkpoint that it started from, since another processor's rounding gives another. What is fetched is
a copy, checked like any other artifact: results never depend on the cache staying where it is.

Accounts share what the cache's own folder lets them: who may read it may read all models, whatever the umask of whoever
kept them there. What cannot be read is as if it were not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from guda.core.artifacts import CURE, load_tensors, replacing, sha256_file
from guda.core.errors import ArtifactError, GudaError
from guda.core.files import regular
from guda.core.paths import MODEL_FILES, RECORD, STATE
from guda.core.records import read_record
from guda.models.health import warn
from guda.specs import ModelSpec


class ModelCache:
    """The cache in `folder`; '' is no cache, in which nothing is found and nothing is kept.

    `files` are those of a model, the weights last. Raises GudaError for a home folder that there is not.
    """

    def __init__(self, folder: str, files: tuple[str, ...] = MODEL_FILES):
        self._files = files
        try:
            self._root = Path(folder).expanduser() if folder else None
        except RuntimeError:
            raise GudaError(f"GUDA_CACHE is {folder!r}, but there is no such home folder; give a whole path") from None

    def fetch(self, model: str | Path, spec: ModelSpec, parent_sha256: str = "", **origin: str) -> bool:
        """Copy the model of this spec into the folder `model`, if it is here and can be read.

        `origin` is what the job has at hand of the network to expect: see `guda.models.check.Origin`. Raises
        ArtifactError for a model that is damaged or of another network.
        """
        source = self._address(spec, parent_sha256)
        if source is None:
            return False
        if barrier := self._barrier(source):
            print(f"not read from the cache: {barrier}", file=sys.stderr)
            return False
        if not source.is_dir():
            return False
        record = self._checked_record(source, spec, parent_sha256, origin)
        for name in (*self._files, RECORD):
            with replacing(Path(model) / name) as temporary:
                shutil.copyfile(source / name, temporary)
        (Path(model) / STATE).unlink(missing_ok=True)
        print(f"taken from the cache: {source}", file=sys.stderr)
        if "health" in record:
            warn(record["health"], spec)
        return True

    def store(self, model: str | Path, spec: ModelSpec, parent_sha256: str = "") -> None:
        """Keep a copy of a finished model; whoever comes second with the same one leaves the first in place.

        A cache that cannot be written to is no reason to lose the model: it is said, and that is all.
        """
        target = self._address(spec, parent_sha256)
        if target is None:
            return
        try:
            if barrier := self._barrier(target):
                raise barrier
            if not target.exists():
                self._copy(Path(model), target)
        except OSError as error:
            print(f"not kept in the cache: {error}", file=sys.stderr)

    def _barrier(self, folder: Path) -> PermissionError | None:
        """What keeps this account from reading a model; None where nothing does, as where there is none."""
        try:
            for file in (folder / name for name in (*self._files, RECORD)):
                if stat.S_ISREG(file.lstat().st_mode):  # opening a pipe would wait
                    file.open("rb").close()
        except PermissionError as error:
            return error
        except OSError:
            pass  # absent or damaged, which is no question of rights
        return None

    def _checked_record(
        self, source: Path, spec: ModelSpec, parent_sha256: str, origin: dict[str, str]
    ) -> dict[str, Any]:
        """The record of a cached model. Raises ArtifactError for one that is damaged or of another network."""
        from guda.models.check import Origin, model_check  # and with it torch, once there is a model to check

        check = model_check(spec, Origin(**origin))
        try:
            for name in (*self._files, RECORD):
                if (source / name).is_symlink():
                    raise ArtifactError(f"{source / name}: a symbolic link")
                regular(source / name)
            weights = source / self._files[-1]
            _, metadata = load_tensors(weights, spec.digest(), "np")
            if metadata.get("parent_sha256", "") != parent_sha256:
                raise ArtifactError(f"{weights}: unlearned from another base checkpoint")
            record = read_record(source / RECORD, spec.digest())
            for name in self._files:
                if record["outputs"].get(name) != sha256_file(source / name):
                    raise ArtifactError(f"{source / name}: not the file that its record describes")
            check(source)
        except (ArtifactError, OSError) as error:
            reason = str(error).removesuffix(CURE).rstrip(". ")
            raise ArtifactError(f"the cached model {source} is damaged ({reason}). Delete that folder.") from None
        return record

    def _copy(self, model: Path, target: Path) -> None:
        """Copy a model, complete or not at all, with the rights that the cache's own folder gives.

        Who may enter and read that folder may do so here, and who may write to it may delete models, but where it is
        sticky, as /tmp is: there that is for their owners.
        """
        mode = self._mode()
        with contextlib.suppress(FileExistsError):
            target.parent.mkdir()
            target.parent.chmod(mode)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            complete = Path(temporary) / "model"
            complete.mkdir()
            for name in (*self._files, RECORD):
                shutil.copyfile(model / name, complete / name)
                (complete / name).chmod(0o600 | mode & 0o044)
            complete.chmod(mode & ~(stat.S_ISVTX | 0o022) if mode & stat.S_ISVTX else mode)
            try:
                complete.rename(target)
            except OSError:
                if not target.is_dir():
                    raise

    def _mode(self) -> int:
        """The permissions of the cache's folder, which is made, by the umask, if it is not there."""
        root = Path(str(self._root))
        if os.path.lexists(root) and not root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
        root.mkdir(parents=True, exist_ok=True)
        return stat.S_IMODE(root.stat().st_mode)

    def _address(self, spec: ModelSpec, parent_sha256: str) -> Path | None:
        if self._root is None:
            return None
        return self._root / "models" / "-".join(filter(None, [spec.digest(), parent_sha256[:20]]))
