"""Time and memory of a dry run: how long Snakemake takes to plan an experiment with many groups.

Writes a folder of 4x4 images, four per group, and plans everything with one oracle seed from an empty results folder.
Seconds are CPU seconds; `all` prints every job, `rules` and `quiet` do not (--quiet rules, --quiet all). `--bare`
instead plans about as many jobs of a Snakefile without parameters, resources, logs and messages, to measure Snakemake's
own share. Nothing is computed, and the folder is deleted at the end.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES_PER_GROUP = 4
BARE = """
rule scores:
    input: expand("elbo/{model}/{group}/{bucket}", model=["logo", "guda"], group=GROUPS, bucket=BUCKETS)
    output: "scores"
    shell: "touch {output}"
rule group:
    output: "groups/{group}"
    shell: "touch {output}"
rule base:
    output: "base"
    shell: "touch {output}"
rule bucket:
    output: "queries/{bucket}"
    shell: "touch {output}"
rule model:
    input: "base", "groups/{group}"
    output: "models/{model}/{group}"
    shell: "touch {output}"
rule elbo:
    input: "models/{model}/{group}", "queries/{bucket}"
    output: "elbo/{model}/{group}/{bucket}"
    shell: "touch {output}"
"""
PRINTING = {"all": [], "rules": ["--quiet", "rules"], "quiet": ["--quiet", "all"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[250, 500, 1000], metavar="N")
    parser.add_argument("--buckets", type=int, nargs="+", default=[16], metavar="N")
    parser.add_argument("--queries-per-bucket", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--printing", choices=PRINTING, nargs="+", default=list(PRINTING))
    parser.add_argument("--bare", action="store_true", help="plan a Snakefile with only inputs, outputs and commands")
    args = parser.parse_args()
    print(
        "| groups | buckets | printing | jobs | seconds | ms per job  peak (GB) |\n"
        + "|---:|---:|---|---:|---:|---:|---:|"
    )
    for groups in args.groups:
        for buckets in args.buckets:
            with tempfile.TemporaryDirectory(prefix="guda-planning-") as folder:
                if args.bare:
                    write_bare(Path(folder), groups, buckets)
                else:
                    write_experiment(Path(folder), groups, buckets, args.queries_per_bucket)
                jobs = None
                for printing in sorted(args.printing, key=list(PRINTING).index):
                    seconds, peak, output = plan(folder, PRINTING[printing], args.bare)
                    jobs = number_of_jobs(output) or jobs
                    figures = f"{jobs} | {seconds:.1f} | {1000 * seconds / jobs:.2f}" if jobs else f"| {seconds:.1f} |"
                    print(f"| {groups} | {buckets} | {printing} | {figures} | {peak / 1e9:.2f} |", flush=True)


def write_experiment(folder: Path, groups: int, buckets: int, queries_per_bucket: int) -> None:
    """Write the images, one sub-folder per group, and a configuration with one oracle seed."""
    generator = np.random.default_rng(0)
    for group in range(groups):
        here = folder / "images" / f"group-{group:05d}"
        here.mkdir(parents=True)
        for number in range(IMAGES_PER_GROUP):
            Image.fromarray(generator.integers(0, 256, (4, 4), dtype=np.uint8)).save(here / f"{number}.png")
    changed = {
        "data": {"dataset": "image_folder", "folder": "images", "group_by": "label"},
        "oracle": {"seeds": [1]},
        "queries": {"buckets": buckets, "count": buckets * queries_per_bucket},
        "metrics": {"content": None},
    }
    (folder / "many.yaml").write_text(yaml.safe_dump(changed))


def write_bare(folder: Path, groups: int, buckets: int) -> None:
    """A Snakefile with two models per group, and terms for each model and bucket."""
    (folder / "Snakefile").write_text(f"GROUPS, BUCKETS = range({groups}), range({buckets})\n{BARE}")


def plan(folder: str, arguments: list[str], bare: bool) -> tuple[float, int, str]:
    """CPU seconds, peak memory in bytes, and output of a dry run in the folder."""
    ours = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "many.yaml"]
    where = ["--directory", folder, *(["--snakefile", f"{folder}/Snakefile"] if bare else ours)]
    command = [sys.executable, "-m", "snakemake", *where, "--dry-run", "--nocolor", *arguments]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read()
    if process.returncode:
        sys.exit(output)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output


def environment() -> dict[str, str]:
    """Environment without the user's profile and shared models."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "GUDA_"))}


def number_of_jobs(output: str) -> int | None:
    """The total of the job table; None with --quiet all, which does not print it."""
    found = re.search(r"^total\s+(\d+)$", output, re.MULTILINE)
    return int(found[1]) if found else None


if __name__ == "__main__":
    main()
