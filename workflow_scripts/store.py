"""Show the contents of the store of single values, and delete those of models that no longer exist."""

import argparse
import shutil
from pathlib import Path

from guda.core.artifacts import sha256_file
from guda.core.errors import GudaError
from guda.core.paths import ADAPTER, STORE, WEIGHTS
from guda.core.store import stored
from guda.jobs.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", nargs="+", required=True, help="all results folders that share the store")
    parser.add_argument("--store", help=f"the store (default: the folder {STORE}/ of the first results folder)")
    parser.add_argument("--prune", action="store_true", help="delete values that belong to none of their models")
    args = parser.parse_args()
    folder = Path(args.store or Path(args.results[0]) / STORE)
    for place in [folder, *map(Path, args.results)]:
        if not place.is_dir():
            raise GudaError(f"{place}: no such folder")
    weights = {sha256_file(file) for results in args.results for file in _weights(Path(results))}
    sizes = {True: 0, False: 0}
    for address, spec in stored(folder):
        used = spec is not None and {spec.files[name] for name in (WEIGHTS, ADAPTER) if name in spec.files} <= weights
        sizes[used] += sum(file.stat().st_size for file in address.iterdir())
        if args.prune and not used:
            shutil.rmtree(address)
    print(f"{folder}: {sizes[True] / 1e6:.1f} MB of existing models")
    print(f"{sizes[False] / 1e6:.1f} MB of other models{', deleted' if args.prune else '; --prune deletes them'}")


def _weights(results: Path) -> list[Path]:
    """The weights of all models of a results folder."""
    return [file for name in (WEIGHTS, ADAPTER) for file in (results / "models").rglob(name)]


if __name__ == "__main__":
    run(main)
