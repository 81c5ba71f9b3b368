"""The interface of attribution methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from guda.core.paths import Paths
from guda.evaluation.scores import Scores
from guda.specs import Spec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


@dataclass(frozen=True)
class Needs:
    """Files that a method reads, and the records of the jobs whose cost is the method's own.

    `build_records` are paid once for all queries, `query_records` grow with the queries; both with the digest of the
    spec that the record must be of.
    """

    files: list[str]
    build_records: dict[str, str] = field(default_factory=dict)
    query_records: dict[str, str] = field(default_factory=dict)


class Method(Protocol):
    """What the workflow and the stage `attribute.py` ask of a method. Torch may be imported in `scores` only."""

    def spec(self, experiment: Experiment) -> Spec:
        """All that the scores depend on."""
        ...

    def parse(self, text: str) -> Spec:
        """Read the canonical text of such a spec."""
        ...

    def needs(self, spec: Spec, paths: Paths) -> Needs:
        """Files to read and cost records, by name alone: the files need not exist yet."""
        ...

    def scores(self, spec: Spec, paths: Paths) -> Scores:
        """Compute the scores from the files. Raises ArtifactError for one that is not of the spec."""
        ...
