"""The command `guda-workflow`: `guda-workflow init FOLDER` prepares a folder to run the installed workflow in."""

from __future__ import annotations

import argparse
import shutil
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from guda import __version__
from guda.core.errors import GudaError

SNAKEFILE = '''"""Runs the installed guda-workflow on the config.yaml beside this file."""

from guda.command import workflow_folder


include: str(workflow_folder() / "Snakefile")
'''
COPIED = ("config.yaml", "profiles/default/config.yaml", "profiles/slurm/config.yaml")


def workflow_folder() -> Path:
    """The folder of the workflow, in the installed package or in this clone. Raises GudaError."""
    clone = Path(__file__).resolve().parents[2]
    if (clone / "Snakefile").is_file() and (clone / "rules").is_dir():
        return clone
    try:
        installed = files("guda-workflow") or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:] == ("share", "guda-workflow", "Snakefile"):
            return Path(str(file.locate())).resolve().parent
    raise GudaError("the package is installed without the workflow; install it from a wheel, or use a clone")


def prepare(folder: Path) -> list[Path]:
    """Write the Snakefile, config.yaml and profiles into the folder, and return the files written.

    Raises GudaError if one of them already exists.
    """
    source, targets = workflow_folder(), [folder / name for name in ("Snakefile", *COPIED)]
    for target in targets:
        if target.exists():
            raise GudaError(f"{target} already exists; choose another folder, or move it away")
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    targets[0].write_text(SNAKEFILE, encoding="utf-8")
    for name, target in zip(COPIED, targets[1:], strict=True):
        shutil.copyfile(source / name, target)
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(prog="guda-workflow", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="write a Snakefile, config.yaml and profiles into a folder")
    init.add_argument("folder", type=Path)
    args = parser.parse_args()
    try:
        written = prepare(args.folder)
    except (GudaError, OSError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(f"wrote {file}" for file in written))
    print(f"next: edit {args.folder / 'config.yaml'}, then in {args.folder}: snakemake --cores all results/metrics.csv")


if __name__ == "__main__":
    main()
