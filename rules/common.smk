"""The validated experiment, and what all rules share."""

import os
import re
import sys
from pathlib import Path

SCRIPTS = str(Path(workflow.basedir) / "workflow_scripts")
sys.path.insert(0, SCRIPTS)

from guda.config import load_config, read_yaml
from guda.errors import GudaError
from guda.experiment import Experiment
from guda.paths import BASE, CALIBRATION, logo_model, unlearned_model

# Jobs run the Python that runs Snakemake, not whatever the shell finds first.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def load_experiment():
    """The experiment of the merged configuration, or one readable message instead of a traceback."""
    try:
        for file in workflow.configfiles:
            read_yaml(file)
        return Experiment(load_config(config))
    except GudaError as error:
        raise WorkflowError(str(error)) from None


experiment = load_experiment()
paths = experiment.paths
settings = experiment.config


def one_of(names):
    """Wildcard constraint: exactly these names."""
    return "|".join(re.escape(name) for name in names)


def model_files(model):
    """The declared files of a diffusers folder."""
    return [paths.model_config(model), paths.model_weights(model)]


def final_outputs():
    """What `rule all` makes beside metrics.csv, which everything else here follows from."""
    by_source = [paths.metrics_by_source()] if settings.metrics.content else []
    return [paths.rankings(), paths.figure(), *by_source]


wildcard_constraints:
    group=one_of(experiment.groups),
    seed=r"\d+",
    bucket=one_of([CALIBRATION, *experiment.buckets]),
    model=r"base|[^/]+/[^/]+",
    method=one_of(experiment.score_names),
