"""The prompts of the training images, and those that a text-to-image network is conditioned on at a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from guda.core.seeding import derive_seed, uniform

TENSORS = ("embeddings", "pooled", "prompts", "starts", "empty")  # in a file of embedded prompts
NO_PROMPT = -1  # index of the empty prompt


@dataclass(frozen=True)
class Captions:
    """Prompts of the training images `ids`: image r has the prompts numbered `prompts[starts[r]:starts[r + 1]]`.

    `embeddings` float32 [P, L, D] and `pooled` [P, E] are those of the distinct prompts, `empty` [L, D] that of "";
    `prompts` int64 [prompts of all images, in order], `starts` int64 [N + 1]. A training step uses one of an image's
    prompts, or the empty one with probability `dropout` (Ho & Salimans 2022).
    """

    embeddings: Tensor
    pooled: Tensor
    prompts: Tensor
    starts: Tensor
    empty: Tensor
    ids: list[str]
    seed: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.ids) + 1:
            raise ValueError(f"prompts of {len(self.starts) - 1} images, expected those of {len(self.ids)}")

    def among(self, rows: Sequence[int]) -> Captions:
        """The prompts of some of the images."""
        prompts = [self.prompts[self.starts[row] : self.starts[row + 1]] for row in rows]
        starts = torch.tensor([0, *accumulate(map(len, prompts))])
        return replace(self, prompts=torch.cat(prompts), starts=starts, ids=[self.ids[row] for row in rows])

    def choose(self, rows: Tensor, step: int) -> Tensor:
        """Indices of the prompts of the images `rows` at a training step, int64 [n]; NO_PROMPT for the empty one.

        Each depends on (seed, step, id) alone.
        """
        return torch.tensor([self._chosen(row, step) for row in rows.tolist()])

    def embedded(self, numbers: Tensor) -> Tensor:
        """Embeddings of prompts by index, float32 [n, L, D]."""
        prompted = (numbers != NO_PROMPT)[:, None, None]
        return torch.where(prompted, self.embeddings[numbers], self.empty)

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """Embeddings of the prompts of the images `rows` at a training step, float32 [n, L, D]."""
        return self.embedded(self.choose(rows, step))

    def first(self, rows: Tensor) -> Tensor:
        """Embeddings of the first prompt of each of the images `rows`, float32 [n, L, D]."""
        return self.numbered(rows, 0)

    def numbered(self, rows: Tensor, number: int) -> Tensor:
        """Embeddings of the prompt with this index, from 0, of each of the images `rows`, float32 [n, L, D]."""
        return self.embeddings[self.prompts[self.starts[rows] + number]]

    def _chosen(self, row: int, step: int) -> int:
        if uniform("prompt dropout", self.seed, step, self.ids[row]) < self.dropout:
            return NO_PROMPT
        start, end = self.starts[row : row + 2].tolist()
        return int(self.prompts[start + derive_seed("prompt", self.seed, step, self.ids[row]) % (end - start)])
