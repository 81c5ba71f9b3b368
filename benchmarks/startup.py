"""CPU seconds from the start of a Python process until it can compute, compared with importing only torch.

`over_torch` is the startup time of a process with everything that a kind of job needs, relative to one that imports
only torch (or numpy and pandas, for jobs without a network); the limit is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from side_by_side import ROOT, ratio, report

PROGRAM = "from guda.jobs.cli import collect_rarely; collect_rarely();"
NETWORKS = f"{PROGRAM} from guda.jobs.diffusers_import import import_networks_alone; import_networks_alone();"
OF_DIFFUSERS = "from diffusers import UNet2DModel;"
KINDS = {
    "scoring": (f"{NETWORKS} import guda.scoring.elbo, guda.models.denoisers; {OF_DIFFUSERS}", "import torch"),
    "unlearning": (f"{NETWORKS} import guda.unlearning, guda.training.loop; {OF_DIFFUSERS}", "import torch"),
    "plain diffusers import": (OF_DIFFUSERS, "import torch"),
    "tables": (f"{PROGRAM} import guda.evaluation.metrics_table, guda.methods", "import numpy, pandas"),
    "command line": (PROGRAM, "import pydantic"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    args = parser.parse_args()
    for kind, (ours, theirs) in KINDS.items():
        pairs = [(processor_seconds(ours), processor_seconds(theirs)) for _ in range(args.rounds + 1)][1:]
        own, least = ([pair[place] for pair in pairs] for place in (0, 1))
        report("startup", "CPU", kind=kind, seconds=sorted(own)[len(own) // 2], over_torch=ratio(least, own))


def processor_seconds(code: str) -> float:
    """CPU seconds of a process that runs this code."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow_scripts", check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
