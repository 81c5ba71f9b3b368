"""scikit-learn's handwritten digits (1,797 images of 8x8), contributed by six invented data providers.

amber is the only source of 0 and 1, birch of 2 and 3; the other four share 4 to 9, so that two or three of them have
each of these classes. Images with a single source need their provider; shared classes survive any one removal.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from guda import config
from guda.core.seeding import derive_seed
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset

PROVIDERS_OF_CLASS = {
    0: ("amber",),
    1: ("amber",),
    2: ("birch",),
    3: ("birch",),
    4: ("cedar", "dune"),
    5: ("dune", "ember"),
    6: ("ember", "flint"),
    7: ("cedar", "flint"),
    8: ("cedar", "dune", "ember"),
    9: ("cedar", "ember", "flint"),
}
PROVIDER_SEED = 0
MAX_LEVEL = 16


def load(settings: config.Data) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / MAX_LEVEL)).astype(np.uint8)[:, None]
    ids = [f"digit-{index:04d}" for index in range(len(images))]
    table = pd.DataFrame(
        {
            "id": ids,
            "label": [str(label) for label in digits.target],
            "provider": [_provider(sample_id, label) for sample_id, label in zip(ids, digits.target, strict=True)],
        }
    )
    return Dataset.build("digits", [images], table, settings.subset, Conversion.of(settings))


def _provider(sample_id: str, label: int) -> str:
    choices = PROVIDERS_OF_CLASS[int(label)]
    return choices[derive_seed("provider", PROVIDER_SEED, sample_id) % len(choices)]
