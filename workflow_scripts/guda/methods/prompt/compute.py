"""Scores by the number of style descriptors in a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from guda.core.artifacts import read_csv
from guda.core.paths import Paths
from guda.core.records import check_recorded
from guda.evaluation.scores import Scores
from guda.methods.prompt.plan import PromptOverlap, PromptOverlapSpec


def scores(method: PromptOverlap, spec: PromptOverlapSpec, paths: Paths) -> Scores:
    """A group's score is the number of its style's descriptors in the query's prompt."""
    check_recorded(paths.query_table(), spec.queries)
    table = read_csv(paths.query_table())
    score = prompt_overlap(list(table["prompt"]), list(spec.descriptors.values()))
    return Scores(list(table["query"]), list(spec.descriptors), score)


def prompt_overlap(prompts: Sequence[str], descriptors: Sequence[Sequence[str]]) -> np.ndarray:
    """Number of each group's descriptors in each prompt, float64 [prompts, groups].

    Matches whole words, ignoring case.
    """
    phrases = {phrase for group in descriptors for phrase in group}
    patterns = {each: re.compile(rf"(?<!\w){re.escape(each)}(?!\w)", re.IGNORECASE) for each in phrases}
    counts = np.zeros((len(prompts), len(descriptors)))
    for row, prompt in enumerate(prompts):
        found = {phrase for phrase, pattern in patterns.items() if pattern.search(prompt)}
        counts[row] = [len(found.intersection(group)) for group in descriptors]
    return counts
