"""UnlearnCanvas (arXiv 2402.11846): paintings of the same objects in many styles, in `Style/Object/1.jpg`.

Columns: id (the path), style, object. The photographs that the paintings were made from, in a folder beside the styles,
are left out.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd

from guda import config
from guda.core.errors import DataError
from guda.data.datasets.conversion import Conversion
from guda.data.datasets.dataset import Dataset
from guda.data.datasets.image_files import list_images
from guda.data.datasets.image_folder import of_files

KEY = "data.folder"
PHOTOGRAPHS = {"Seed_Image", "Seed_Images"}  # the names in its README and in its programs
NAMED = 3  # faults named in an error


def load(settings: config.Data) -> Dataset:
    root = Path(settings.root)
    listing = list_images(root, KEY)
    names = [name for name in listing.images if PurePosixPath(name).parts[0] not in PHOTOGRAPHS]
    paths = [PurePosixPath(name).parts for name in names]
    for name, parts in zip(names, paths, strict=True):
        if len(parts) != 3:
            raise DataError(
                f"{KEY}: {str(root / name)!r} is not in a folder Style/Object; {KEY} must be the folder of the "
                "styles' folders"
            )
    table = pd.DataFrame({"id": names, "style": [each[0] for each in paths], "object": [each[1] for each in paths]})
    _check_complete(root, table)
    return of_files(
        "unlearncanvas", root, table, Conversion.of(settings), settings.subset, notes=listing.notes(root, KEY)
    )


def _check_complete(root: Path, table: pd.DataFrame) -> None:
    """Raise DataError unless each style has each object, with equally many images of each."""
    counts = Counter(zip(table["style"], table["object"], strict=True))
    folders = {path.name for path in root.iterdir() if path.is_dir() and path.name[0] != "."} - PHOTOGRAPHS
    objects = sorted(table["object"].unique())
    most = max(counts.values(), default=0)
    pairs = [(style, each) for style in sorted(folders) for each in objects]
    short = [f"{style}/{each} has {counts[style, each]}" for style, each in pairs if counts[style, each] < most]
    if not pairs or short:
        more = f" and {len(short) - NAMED} more" if len(short) > NAMED else ""
        raise DataError(
            f"{KEY}: {str(root)!r} is incomplete: {', '.join(short[:NAMED]) or 'no paintings'}{more}, others have "
            f"{most} images; download these again, or use dataset image_folder with a table for a selection"
        )
