"""The training images as read by a job, and which of them a group holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.seeding import chosen
from guda.data.captions import TENSORS, Captions
from guda.data.groups import read_members
from guda.data.pixels import to_network_range


@dataclass(frozen=True)
class Query:
    """One image x [C, H, W] in the networks' range, its id, and its prompt's embedding [1, L, D], if any."""

    x: Tensor
    id: str
    condition: Tensor | None


@dataclass(frozen=True)
class TrainingSet:
    """`images` uint8 [N, C, H, W] or latents float32, memory-mapped, and their ids, in the table's order."""

    images: Tensor
    ids: list[str]
    captions: Captions | None = None

    def conditions(self, rows: Sequence[int], number: int = 0) -> Tensor | None:
        """Embeddings of the images' prompts with this index, float32 [n, L, D]; None for images without prompts."""
        return None if self.captions is None else self.captions.numbered(torch.tensor(rows), number)

    def required_captions(self) -> Captions:
        """The captions. Raises ValueError if the images have none."""
        if self.captions is None:
            raise ValueError("the images have no captions; a text-to-image network needs them")
        return self.captions

    def among(self, rows: Sequence[int]) -> TrainingSet:
        """Some of the images."""
        captions = None if self.captions is None else self.captions.among(rows)
        return TrainingSet(self.images[list(rows)], [self.ids[row] for row in rows], captions)

    def query(self, row: int) -> Query:
        """One of the images, in the form that methods which unlearn single images take."""
        return Query(to_network_range(self.images[row]), self.ids[row], self.conditions([row]))

    def in_group(self, path: str, spec_digest: str | None = None) -> Tensor:
        """Which images are members of the group in the file `path`, bool [N]."""
        members = read_members(path, spec_digest)
        return torch.tensor([sample_id in members for sample_id in self.ids])

    def sample(self, count: int, seed: int) -> TrainingSet:
        """`count` images (or all, if fewer) by a hash of (seed, id), so that new images barely change the choice."""
        return self.among(chosen(self.ids, count, "calibration", seed))


def read_training_set(path: str, spec_digest: str | None = None) -> TrainingSet:
    """The training images, the calibration sample, or queries; encoded ones with their captions.

    Raises ArtifactError if the file is missing, damaged or not of the expected spec (None: any spec).
    """
    tensors, _ = load_tensors(path, spec_digest)
    ids = unpack_ids(tensors["ids"])
    if "images" in tensors:
        return TrainingSet(tensors["images"], ids)
    return TrainingSet(tensors["latents"], ids, Captions(**{name: tensors[name] for name in TENSORS}, ids=ids))
