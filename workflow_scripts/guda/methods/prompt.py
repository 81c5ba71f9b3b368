"""Whose words are in the prompt? The naive baseline for text-to-image models, which looks at no image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from guda.core.artifacts import read_csv
from guda.core.paths import Paths, record_of
from guda.core.records import check_recorded
from guda.evaluation.scores import Scores
from guda.methods.method import Needs
from guda.specs import PromptOverlapSpec

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment


class PromptOverlap:
    """A group's score is the number of its style's descriptors that the query's prompt holds."""

    def spec(self, experiment: Experiment) -> PromptOverlapSpec:
        return PromptOverlapSpec(
            descriptors={group: experiment.family.descriptors_of(group) for group in experiment.groups},
            queries=experiment.query_table_spec().digest(),
        )

    def parse(self, text: str) -> PromptOverlapSpec:
        return PromptOverlapSpec.parse(text)

    def needs(self, spec: PromptOverlapSpec, paths: Paths) -> Needs:
        return Needs([paths.query_table(), record_of(paths.query_table())])

    def scores(self, spec: PromptOverlapSpec, paths: Paths) -> Scores:
        check_recorded(paths.query_table(), spec.queries)
        table = read_csv(paths.query_table())
        score = prompt_overlap(list(table["prompt"]), list(spec.descriptors.values()))
        return Scores(list(table["query"]), list(spec.descriptors), score)


def prompt_overlap(prompts: Sequence[str], descriptors: Sequence[Sequence[str]]) -> np.ndarray:
    """How many of each group's descriptors stand in each prompt, float64 [prompts, groups].

    Whole words only, whether in capitals or not.
    """
    phrases = {phrase for group in descriptors for phrase in group}
    patterns = {each: re.compile(rf"(?<!\w){re.escape(each)}(?!\w)", re.IGNORECASE) for each in phrases}
    counts = np.zeros((len(prompts), len(descriptors)))
    for row, prompt in enumerate(prompts):
        found = {phrase for phrase, pattern in patterns.items() if pattern.search(prompt)}
        counts[row] = [len(found.intersection(group)) for group in descriptors]
    return counts
