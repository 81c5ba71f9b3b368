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
    """Files that a method reads, and the records of the jobs whose cost is the method's own.

    `build_records` are paid once for all queries, `query_records` grow with the queries; both with the digest of the
    spec that the record must be of.
    """

    files: list[str]
    build_records: dict[str, str] = field(default_factory=dict)
    query_records: dict[str, str] = field(default_factory=dict)


class Method(Generic[S]):
    """What the workflow and the stage `attribute.py` ask of a method.

    It is declared in `plan.py` of a folder, which never imports torch. Its scores are made by `compute.py` beside that,
    in the function that `computed_by` names, given the method, its spec and the paths.
    """

    kind: type[S]
    computed_by = "scores"
    unit = "nats"  # of its scores; "": none

    def __init__(self, name: str):
        self.name = name

    def applies(self, experiment: Experiment) -> bool:
        """Whether it can be used with the kind of models that the experiment has."""
        return True

    def check(self, experiment: Experiment) -> None:
        """Raise GudaError, naming the key or file, where the experiment cannot give what the method needs."""

    def notes(self, experiment: Experiment) -> list[str]:
        """What the user should know before anything runs, a sentence each."""
        return []

    def spec(self, experiment: Experiment) -> S:
        """All that the scores depend on."""
        raise NotImplementedError

    def parse(self, text: str) -> S:
        """Read the canonical text of such a spec."""
        return self.kind.parse(text)

    def needs(self, spec: S, paths: Paths) -> Needs:
        """Files to read and cost records, by name alone: the files need not exist yet."""
        raise NotImplementedError

    def judged(self, spec: S) -> dict[str, str]:
        """The models whose health its scores rest on, by name with the digests of their specs.

        Counterfactuals are compared with the base model, which is then among them.
        """
        return {}

    def scores(self, spec: S, paths: Paths) -> Scores:
        """Compute the scores from the files. Raises ArtifactError for one that is not of the spec."""
        return getattr(self.compute, self.computed_by)(self, spec, paths)

    @property
    def compute(self) -> ModuleType:
        """The module `compute` beside the one that declares the method."""
        return import_module(f"{type(self).__module__.removesuffix('.plan')}.compute")
