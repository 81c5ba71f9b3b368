"""A small experiment on the digits, and the same with changes to its configuration."""

from guda.config import Data
from guda.data.datasets import load_dataset
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

DATASET = load_dataset(Data())
TINY = {
    "data": {"groups": ["amber", "cedar"]},
    "training": {"steps": 20, "warmup_steps": 2, "seed": 0},
    "oracle": {"seeds": [1, 2]},
    "unlearn": {"steps": 10, "warmup_steps": 2, "n_neighbors": 3},
    "queries": {"count": 8, "buckets": 2, "sampling_steps": 5},
    "elbo": {"steps": {"kind": "geometric", "first": 100, "last": 900, "count": 4, "stride": 10}},
    "methods": ["guda", "guda_uncalibrated", "nearest", "random"],
    "attribution": {"calibration": {"count": 16}},
    "metrics": {"bootstrap_samples": 50, "content": "label"},
    "figure": {"queries": 3},
}


def merged(base, overlay):
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


def experiment(**changes):
    return Experiment(load_config(merged(TINY, changes)), DATASET)
