"""Which groups each training image is in, and the label under which a conditional network sees it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from guda.core.paths import Paths
from guda.core.seeding import derive_seed, uniform
from guda.data.groups import read_members


@dataclass(frozen=True)
class Memberships:
    """The groups of every image, as indices: image r is in the groups `labels[starts[r]:starts[r + 1]]`.

    `labels` int64 [memberships], `starts` int64 [N + 1]; groups are numbered 0 .. `n_groups` - 1.
    """

    n_groups: int
    labels: Tensor
    starts: Tensor

    @classmethod
    def of(cls, ids: list[str], groups: list[set[str]]) -> Memberships:
        """The memberships of the images `ids` in groups with these members."""
        numbers: dict[str, list[int]] = {sample_id: [] for sample_id in ids}
        for number, members in enumerate(groups):
            for sample_id in members:
                numbers[sample_id].append(number)
        starts = list(itertools.accumulate(map(len, numbers.values()), initial=0))
        labels = list(itertools.chain.from_iterable(numbers.values()))
        return cls(len(groups), torch.tensor(labels, dtype=torch.int64), torch.tensor(starts))

    @property
    def grouped(self) -> Tensor:
        """Rows of the images that are in a group, int64."""
        return torch.nonzero(self.starts.diff()).flatten()

    def shares(self, rows: Tensor) -> Tensor:
        """Distributions over the groups, uniform over those of each image, zero for an image in none, [n, G]."""
        shares = torch.zeros(len(rows), self.n_groups)
        for entry, row in enumerate(rows.tolist()):
            mine = self.labels[self.starts[row] : self.starts[row + 1]]
            shares[entry, mine] = 1 / max(1, len(mine))
        return shares


def read_labels(paths: Paths, ids: list[str], members: dict[str, str]) -> Memberships:
    """The memberships of the images `ids` in groups with these spec digests, in that order. Raises ArtifactError."""
    return Memberships.of(ids, [read_members(paths.group(group), expected) for group, expected in members.items()])


@dataclass(frozen=True)
class DrawnLabels:
    """Labels of training images for a conditional network: one of an image's groups at a time, or `no_group`.

    An image has `no_group` if it is in none, and otherwise with probability `dropout` (Ho & Salimans 2022).
    """

    memberships: Memberships
    ids: list[str]
    seed: int
    dropout: float

    @property
    def no_group(self) -> int:
        return self.memberships.n_groups

    @property
    def count(self) -> int:
        return self.memberships.n_groups + 1

    def draw(self, rows: Tensor, step: int) -> Tensor:
        """Labels int64 [n] of the images `rows` at a training step. Each depends on (seed, step, id) alone."""
        return torch.tensor([self._label(row, step) for row in rows.tolist()])

    def _label(self, row: int, step: int) -> int:
        start, end = self.memberships.starts[row : row + 2].tolist()
        dropped = uniform("label dropout", self.seed, step, self.ids[row]) < self.dropout
        if dropped or start == end:
            return self.no_group
        drawn = derive_seed("label", self.seed, step, self.ids[row]) % (end - start)
        return int(self.memberships.labels[start + drawn])
