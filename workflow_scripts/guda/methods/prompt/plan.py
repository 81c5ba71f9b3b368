"""Words of the prompt: the naive baseline for text-to-image models, which ignores the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guda.core.paths import Paths, record_of
from guda.core.spec import Spec
from guda.methods.method import Method, Needs

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class PromptOverlapSpec(Spec):
    stage, version = "prompt_overlap", 1
    descriptors: dict[str, list[str]]  # of each group's style
    queries: str  # digest of the query table, which contains their prompts


class PromptOverlap(Method[PromptOverlapSpec]):
    """Scores by the number of a style's descriptors in the prompt."""

    kind = PromptOverlapSpec
    unit = ""

    def applies(self, experiment: Experiment) -> bool:
        return experiment.config.text_to_image is not None

    def spec(self, experiment: Experiment) -> PromptOverlapSpec:
        return PromptOverlapSpec(
            descriptors={group: experiment.fine_tuned.descriptors_of(group) for group in experiment.groups},
            queries=experiment.query_table_spec().digest(),
        )

    def needs(self, spec: PromptOverlapSpec, paths: Paths) -> Needs:
        return Needs([paths.query_table(), record_of(paths.query_table())])
