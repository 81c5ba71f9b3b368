"""Propose a configuration for a folder of images and, optionally, a table of their metadata.

    python workflow_scripts/begin.py pictures works.csv
    snakemake -n --quiet rules --configfile my.yaml

The commented file that it writes is ready to run; review it and change what you know better.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from guda.core.artifacts import replacing
from guda.core.errors import GudaError
from guda.jobs.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="folder of images, in any layout; without a table, sub-folders are groups")
    parser.add_argument(
        "table", nargs="?", help="CSV, JSON or Parquet file with one row per image: `file` and other columns"
    )
    parser.add_argument("--output", type=Path, default=Path("my.yaml"), help="file to write (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    args = parser.parse_args()
    if args.output.exists() and not args.force:
        raise GudaError(f"{args.output} exists; name another file with --output, or overwrite it with --force")

    from guda.config.file import read_yaml
    from guda.data.datasets.conversion import Conversion
    from guda.data.datasets.image_folder import read_folder
    from guda.plan.config import load_config
    from guda.plan.experiment import Experiment
    from guda.plan.proposal import look_at, proposal

    dataset = read_folder(args.pictures, args.table, "data", Conversion((8, 8), 3))
    pictures = look_at(Path(args.pictures), list(dataset.table["id"]))
    text = proposal(args.pictures, args.table, dataset.table, pictures, _has_gpu())
    with replacing(args.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
        experiment = Experiment(load_config(read_yaml(temporary)))  # raises before the file is in place
    for note in experiment.notes():
        print(f"note: {note}", file=sys.stderr)
    print(experiment.describe_groups())
    print(f"Written to {args.output}. To estimate the cost: snakemake --cores all estimate --configfile {args.output}")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    run(main)
