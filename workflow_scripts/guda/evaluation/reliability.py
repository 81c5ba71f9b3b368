"""Calibration of first-place probabilities: of first places with p = .9, nine in ten should recur in another run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from guda.evaluation.metrics import first_shares
from guda.evaluation.scores import Scores

if TYPE_CHECKING:
    from jaxtyping import Float

EDGES = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1)
PROBABILITIES = ("p_top1", "p_top1_scoring")


def reliability_table(runs: list[Scores], oracle: Float[np.ndarray, "n g"] | None = None) -> pd.DataFrame:
    """One row per probability and bin of its values at first places, for 2 or more runs on the same queries and groups.

    Columns: `probability`, `above`, `up_to` (the bin; the first includes 0), `n_places`, the mean `p` of these places,
    and the shares of them that the other runs (`agrees_with_run`) and the oracle (`agrees_with_oracle`) also rank
    first. Empty bins are left out, as are probabilities that the runs lack. `oracle` has scores [n, G] in the order of
    the runs; without it the last column is empty. Tied groups share first place.
    """
    firsts = [first_shares(run.score) for run in runs]
    of_oracle = np.full(firsts[0].shape, np.nan) if oracle is None else first_shares(oracle)
    tables = []
    for name in PROBABILITIES:
        found = [getattr(run, name) for run in runs]
        if any(values is None or np.isnan(values).any() for values in found):
            continue
        p = np.concatenate([(first * values).sum(1) for first, values in zip(firsts, found, strict=True)])
        others = (sum(firsts) - first for first in firsts)
        agreed = [(first * other).sum(1) / (len(runs) - 1) for first, other in zip(firsts, others, strict=True)]
        places = pd.DataFrame(
            {
                "bin": np.clip(np.searchsorted(EDGES, p) - 1, 0, len(EDGES) - 2),
                "p": p,
                "agrees_with_run": np.concatenate(agreed),
                "agrees_with_oracle": np.concatenate([(first * of_oracle).sum(1) for first in firsts]),
            }
        )
        means = places.groupby("bin").mean()
        means.insert(0, "n_places", places.groupby("bin").size())
        means.insert(0, "up_to", np.take(EDGES, means.index + 1))
        means.insert(0, "above", np.take(EDGES, means.index))
        means.insert(0, "probability", name)
        tables.append(means)
    return pd.concat(tables, ignore_index=True)
