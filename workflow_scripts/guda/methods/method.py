"""The interface of attribution methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

from guda.core.paths import Paths
from guda.core.spec import Spec
from guda.evaluation.scores import Scores

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Needs:
    """Files that a method reads, and the records of the jobs whose costs are attributed to the method.

    `build_records` are one-time costs, `query_records` grow with the queries; both map records to the digest of the
    spec that they must have. `sizes` are the operations of other networks than the base model's, relative to it, by
    record: an evaluation there counts as so many.
    """

    files: list[str]
    build_records: dict[str, str] = field(default_factory=dict)
    query_records: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)


class Method(Generic[S]):
    """What the workflow and the stage `attribute.py` need from a method.

    It is declared in a folder's `plan.py`, which never imports torch. Its scores are computed in `compute.py` beside
    it, by the function named in `computed_by`, given the method, its spec and the paths.
    """

    kind: type[S]
    computed_by = "scores"
    unit = "nats"  # unit of its scores; "": none

    def __init__(self, name: str):
        self.name = name

    def applies(self, experiment: Experiment) -> bool:
        """Whether the method supports the experiment's kind of models."""
        return True

    def check(self, experiment: Experiment) -> None:
        """Raise GudaError, naming the key or file, if the experiment lacks something that the method needs."""

    def notes(self, experiment: Experiment) -> list[str]:
        """Notes for the user before anything runs, one sentence each."""
        return []

    def spec(self, experiment: Experiment) -> S:
        """The spec of the scores: everything that they depend on."""
        raise NotImplementedError

    def parse(self, text: str) -> S:
        """Parse the canonical text of such a spec."""
        return self.kind.parse(text)

    def needs(self, spec: S, paths: Paths) -> Needs:
        """Names of the files to read and of the cost records; the files need not exist yet."""
        raise NotImplementedError

    def judged(self, spec: S) -> dict[str, str]:
        """The models that the scores rely on, whose health is checked: names and the digests of their specs.

        Counterfactual models are compared with the base model, which is then included.
        """
        return {}

    def scores(self, spec: S, paths: Paths) -> Scores:
        """Compute the scores from the files. Raises ArtifactError for a file that does not match the spec."""
        return getattr(self.compute, self.computed_by)(self, spec, paths)

    @property
    def compute(self) -> ModuleType:
        """The method's module `compute`."""
        return import_module(f"{type(self).__module__.removesuffix('.plan')}.compute")
