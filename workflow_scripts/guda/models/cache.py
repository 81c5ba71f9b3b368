"""Checkpoints shared between folders, experiments and users: one folder per spec in a common place.

A spec names everything that a model depends on, so its digest is the model's address; for an unlearned model, the
address includes the sha256 of the checkpoint that it started from, which differs between machines by rounding. A cache
hit is copied and checked like any other artifact: results never depend on the cache staying in place.

The permissions of the cache's own folder decide who shares it: whoever may read it may read all models, whatever the
umask of the account that saved them. Unreadable models count as absent.
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
    """The cache in `folder`; '' disables the cache, so that nothing is found or kept.

    `files` are those of a model, the weights last. Raises GudaError if `folder` names a home folder that does not
    exist.
    """

    def __init__(self, folder: str, files: tuple[str, ...] = MODEL_FILES):
        self._files = files
        try:
            self._root = Path(folder).expanduser() if folder else None
        except RuntimeError:
            raise GudaError(f"GUDA_CACHE is {folder!r}, but there is no such home folder; give a full path") from None

    def fetch(self, model: str | Path, spec: ModelSpec, parent_sha256: str = "", **origin: str) -> bool:
        """Copy the model of this spec into the folder `model`, if it is here and can be read.

        `origin` is what the job knows about the expected network, see `guda.models.check.Origin`. Raises ArtifactError
        for a model that is damaged or has another architecture.
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
        """Save a copy of a finished model, unless the same model is already there.

        If the cache cannot be written to, a message is printed and the job goes on.
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
        """The error that keeps this account from reading a model; None if there is none, or no model."""
        try:
            for file in (folder / name for name in (*self._files, RECORD)):
                if stat.S_ISREG(file.lstat().st_mode):  # opening a pipe would wait
                    file.open("rb").close()
        except PermissionError as error:
            return error
        except OSError:
            pass  # absent or damaged, which is not a matter of permissions
        return None

    def _checked_record(
        self, source: Path, spec: ModelSpec, parent_sha256: str, origin: dict[str, str]
    ) -> dict[str, Any]:
        """The record of a cached model. Raises ArtifactError for one that is damaged or has another architecture."""
        from guda.models.check import Origin, model_check  # imports torch, so only if there is a model to check

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
        """Copy a model, completely or not at all, with the permissions of the cache's own folder.

        Whoever may enter and read that folder may do so here, and whoever may write to it may delete models, unless it
        is sticky like /tmp: then only their owners may.
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
        """The permissions of the cache's folder, which is created with the umask if missing."""
        root = Path(str(self._root))
        if os.path.lexists(root) and not root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root))
        root.mkdir(parents=True, exist_ok=True)
        return stat.S_IMODE(root.stat().st_mode)

    def _address(self, spec: ModelSpec, parent_sha256: str) -> Path | None:
        if self._root is None:
            return None
        return self._root / "models" / "-".join(filter(None, [spec.digest(), parent_sha256[:20]]))
