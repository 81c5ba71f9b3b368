"""Scores of part of one image, for `region.py`: the region, its inputs, and the table."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from guda.core.errors import GudaError
from guda.core.paths import Paths
from guda.core.records import read_record
from guda.data.training_set import TrainingSet, read_training_set
from guda.jobs.drawing import opened_model
from guda.methods import method_of
from guda.methods.counterfactual.plan import AnySpec, Counterfactual
from guda.methods.resampling import summarize
from guda.models.noise_schedule import step_weights
from guda.scoring.local import region_terms

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from guda.methods.counterfactual.plan import CounterfactualSpec

WHITE = 128  # level from which a mask pixel counts as white


def scores_spec(paths: Paths, method: str) -> AnySpec:
    """The spec of the scores of a method with a model for each group. Raises GudaError."""
    kind = method_of(Counterfactual, method)
    return kind.parse(str(read_record(paths.scores_record(method))["spec"]))


def found_query(paths: Paths, spec: AnySpec, query: str) -> tuple[TrainingSet, int]:
    """The network inputs of the query's bucket, and the query's row. Raises GudaError for an unknown id."""
    known: list[str] = []
    for bucket, expected in spec.runs[0].buckets.items():
        encoded = paths.encoded(bucket)
        samples = read_training_set(encoded if Path(encoded).exists() else paths.queries(bucket), expected)
        if query in samples.ids:
            return samples, samples.ids.index(query)
        known += samples.ids
    close = difflib.get_close_matches(query, known, n=1, cutoff=0.5)
    advice = f"did you mean {close[0]!r}?" if close else f"{paths.query_table()} lists all {len(known)}"
    raise GudaError(f"--query: no query {query!r} was scored; {advice}")


def box_region(text: str, height: int, width: int, unit: str) -> Bool[np.ndarray, "h w"]:
    """The pixels of LEFT,TOP,RIGHT,BOTTOM, counted from 0; RIGHT and BOTTOM are exclusive. Raises GudaError."""
    if not re.fullmatch(r"\d+(,\d+){3}", text.replace(" ", "")):
        raise GudaError(f"--box: {text!r} is not LEFT,TOP,RIGHT,BOTTOM; give four integers, from 0")
    left, top, right, bottom = map(int, text.split(","))
    if not (left < right <= width and top < bottom <= height):
        raise GudaError(
            f"--box: {text} is not a box within the image, which is {width} wide and {height} high, in {unit}; LEFT "
            "must be less than RIGHT, and TOP less than BOTTOM"
        )
    region = np.zeros((height, width), dtype=bool)
    region[top:bottom, left:right] = True
    return region


def mask_region(path: str, height: int, width: int, unit: str) -> Bool[np.ndarray, "h w"]:
    """The white pixels of an image file. Raises GudaError if it has another size or no white pixel."""
    from PIL import Image

    with Image.open(path) as mask:
        if mask.size != (width, height):
            raise GudaError(
                f"--mask: {path} is {mask.size[0]} wide and {mask.size[1]} high, but the image is {width} by {height}, "
                f"in {unit}; resize the mask"
            )
        region = np.asarray(mask.convert("L")) >= WHITE
    if not region.any():
        raise GudaError(f"--mask: {path} has no white pixel; paint the region white and the rest black")
    return region


def terms_of_parts(
    paths: Paths,
    spec: AnySpec,
    samples: TrainingSet,
    row: int,
    parts: Bool[np.ndarray, "r h w"],
    device: torch.device,
    batch_size: int,
) -> Float[np.ndarray, "r g s"]:
    """w_i (KL_i without k - KL_i full) of parts of one image, with the models and noise of the scores.

    Averaged over runs. Raises ArtifactError if the models are not those of the scores.
    """

    def of_run(run: CounterfactualSpec) -> np.ndarray:
        steps = np.array(run.elbo.steps)
        weights = step_weights(steps, run.elbo.first, run.elbo.last)
        asked = samples.images[row : row + 1], [samples.ids[row]], steps, weights, run.elbo.seed, batch_size, parts

        def of_model(name: str, digest: str) -> np.ndarray:
            adapters = Path(paths.model_adapter(name)).exists()
            model = opened_model(paths, name, digest, run.elbo.noise_schedule, adapters).to(device)
            model.precision = run.elbo.precision
            return region_terms(model.conditioned_on(samples.conditions([row])), *asked)[0]

        full = of_model(run.base_name, run.base)
        without = [of_model(run.model_names[group], digest) for group, digest in run.models.items()]
        return np.stack([terms - full for terms in without], axis=1)

    return np.mean([of_run(run) for run in spec.runs], axis=0)


def scores_of_region(
    groups: list[str], within: Float[np.ndarray, "g s"], whole: Float[np.ndarray, "g s"]
) -> pd.DataFrame:
    """One row per group, highest score first, from the weighted terms of the region and of the whole image.

    Columns: `group`; `score`, `se` and `p_top1_scoring` of the region, as in a score file; `whole`, the image's score;
    `share`, the region's score over the whole, which may be below 0 or above 1, since terms have either sign, and is
    NaN if the whole is 0.
    """
    score, se, p_top1_scoring = (values[0] for values in summarize(within[None]))
    total = whole.sum(axis=1)
    share = np.divide(score, total, out=np.full(len(total), np.nan), where=total != 0)
    columns = {"score": score, "se": se, "p_top1_scoring": p_top1_scoring, "whole": total, "share": share}
    frame = pd.DataFrame({"group": groups} | columns)
    return frame.sort_values(["score", "group"], ascending=[False, True], ignore_index=True)
