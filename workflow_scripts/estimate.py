"""Estimate the cost of a run on this machine by timing a small part of the work.

    snakemake --cores all estimate --configfile my.yaml

calls it. Files that are up to date are not counted. The estimate is written to estimate.csv in the results folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

from guda.core.artifacts import write_csv
from guda.core.errors import ConfigError
from guda.jobs.cli import run, set_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path, help="file of the whole configuration, YAML or JSON")
    parser.add_argument("--cores", required=True, type=int, help="number of cores of the run")
    args = parser.parse_args()

    from guda.config.file import read_yaml
    from guda.plan.config import load_config
    from guda.plan.estimate import Machine, estimate
    from guda.plan.experiment import Experiment
    from guda.plan.jobs import Jobs

    config = load_config(read_yaml(args.config))
    if config.text_to_image is not None:
        raise ConfigError(
            "estimate: not supported for text-to-image models yet; rehearse with presets/rehearsal.yaml, "
            "whose records under results/rehearsal/models give the seconds that its steps took"
        )
    experiment = Experiment(config)
    jobs = Jobs(experiment).to_do()
    if not jobs:
        print("Everything is up to date; a run would do nothing.")
        return

    from guda.core.device import use_device, visible_gpus
    from guda.jobs.diffusers_import import import_networks_alone

    import_networks_alone()
    from guda.jobs.speeds import Measured

    execution = config.execution
    set_threads(min(execution.threads, args.cores))
    device = use_device(execution.gpus)
    machine = Machine(args.cores, execution.threads, len(visible_gpus()) if device.type == "cuda" else 0)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars of jobs that take a second
        measured, kinds = Measured(experiment, device), {job.kind for job in jobs}
        speeds = measured.speeds(kinds)
        model_bytes = measured.saving[1] if kinds & {"train", "unlearn"} else 0
    table = estimate(jobs, speeds, model_bytes, machine)
    output = experiment.paths.estimate()
    write_csv(output, table)
    shown = table if machine.gpus else table.drop(columns="gpu_hours")
    print(f"To do, on {device} with --cores {args.cores}:\n\n{shown.to_string(index=False)}\n")
    print(f"Written to {output}. Phases overlap, so their wall-clock minutes do not add up.")


if __name__ == "__main__":
    run(main)
