"""Models and datasets of the Hugging Face hub, pinned to a commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from guda.core.errors import ArtifactError

HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")
FORM = "hub id of the form OWNER/NAME@COMMIT (40 hex digits, so that the {} cannot change under the results)"


def downloaded(source: str, kind: Literal["model", "dataset"], patterns: list[str], key: str) -> Path:
    """The folder with a hub id's files that match these patterns: downloaded, or complete in the hub's cache.

    `key` names the setting in errors. Raises ArtifactError if the download fails.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    try:
        folder = snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=patterns)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{key}: {source} cannot be downloaded ({' '.join(str(error).split())})") from None
    return Path(folder)
