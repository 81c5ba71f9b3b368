"""The validated experiment, and what all rules share."""

import gc
import json
import os
import re
import shlex
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import ExecMode

# Of the millions of objects of a plan all stay: looking for some to free would take a fifth of the time.
gc.set_threshold(1_000_000)

SCRIPTS = str(Path(str(workflow.current_basedir)).parent / "workflow_scripts")
if not Path(SCRIPTS).is_dir():
    raise WorkflowError(f"{SCRIPTS} is no folder here; clone the project and name the Snakefile of the clone")
sys.path.insert(0, SCRIPTS)

from guda.core.artifacts import made_for, write_text
from guda.methods import GRADIENT_METHODS, METHODS
from guda.plan.config import load_config
from guda.config.file import read_yaml
from guda.plan.earlier_results import settle_dates
from guda.core.errors import GudaError
from guda.plan.reports import removal_files as measured_files
from guda.plan.experiment import Experiment
from guda.core.paths import (
    ANCHORS,
    BASE,
    BUCKET,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    MEMORY,
    TRAINING,
    logo_model,
    record_of,
    unlearned_model,
    weights_of,
)
from guda.plan.resources import needs
from guda.core.spec import digest

# Where a path of the rules lies, seen from the working folder: the same, but in a module with a prefix.
located = workflow.modifier.path_modifier.replace_prefix


def load_experiment():
    """The experiment of the merged configuration, or one readable message instead of a traceback."""
    with suppress(OSError):  # Snakemake makes it later; what planning found out about images is kept in it
        Path(".snakemake").mkdir(exist_ok=True)
    try:
        if workflow.modifier.is_main_snakefile():
            for file in workflow.configfiles:
                read_yaml(file)
        return Experiment(load_config(config), located=located)
    except GudaError as error:
        raise WorkflowError(str(error)) from None


experiment = load_experiment()
paths = experiment.paths
settings = experiment.config
RESULTS = str(experiment.on_disk.results)

# What all jobs of this process find in their environment. PATH begins with the Python that runs Snakemake, not what the
# shell finds first.
os.environ.update(
    GUDA_CACHE=os.getenv("GUDA_CACHE", ""),
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
)

# What the jobs of this experiment find there, from a file that they read first: a workflow may run several experiments as
# modules. Where scripts and data lie stands there because a path in a rule's own parameters would make every job stale
# when a folder moves.
ENVIRONMENT = {
    "GUDA_SCRIPTS": SCRIPTS,
    "GUDA_DATA": settings.data.model_dump_json(),
    "GUDA_QUERIES": settings.queries.model_dump_json(),
    "GUDA_IMPORTS": json.dumps(experiment.imports),
    "GUDA_VISION_MODEL": settings.attribution.embedding.model or "",
    "GUDA_CONFIG": settings.model_dump_json(by_alias=True) if settings.text_to_image else "",
    "GUDA_PIPELINE": experiment.family.pipeline_folder,
}
EXPORTS = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in ENVIRONMENT.items())
# Named by its content, so that a plan of other settings leaves a run that goes on its own.
ENVIRONMENT_FILE = str(MEMORY / f"environment-{digest(EXPORTS)}.sh")
write_text(ENVIRONMENT_FILE, EXPORTS)


def environment(wildcards, output):
    """Parameter: the beginning of a job's commands. Snakemake does not compare what may depend on `output`."""
    return f"export GUDA_ATTEMPT={workflow.attempt} && . {shlex.quote(ENVIRONMENT_FILE)} &&"


def one_of(names):
    """Wildcard constraint: exactly these names."""
    return "|".join(re.escape(name) for name in names)


def number(text):
    """The number in a wildcard, such as k=20/, or None in an empty one."""
    digits = re.sub(r"\D", "", text)
    return int(digits) if digits else None


def model_files(model):
    """The declared files of a model's folder, by name."""
    return experiment.family.model_files(model)


@cache
def foreign_mark():
    """A file newer than every output, by its absolute path, which no module's prefix changes."""
    return str(settle_dates(Path(RESULTS)).absolute())


if workflow.exec_mode == ExecMode.DEFAULT:  # before any date is looked at, and by the first process alone
    foreign_mark()


def foreign(path, spec):
    """Input function: nothing, or a mark that makes the job run, since the file at its output is of another spec.

    Snakemake compares parameters with those that it remembers. Where it remembers nothing (results/ came from another
    folder or machine, without .snakemake) a file of another configuration would pass for this one's.
    """

    def marks(wildcards):
        found = made_for(located(path.format(**wildcards)))
        return [] if found is None or found == spec(wildcards).canonical() else [foreign_mark()]

    return marks


@cache
def need(stage):
    """What a job of the stage needs of a cluster."""
    return needs(experiment)[stage]


def memory(stage):
    """Resource function: megabytes that a job of the stage asks a cluster for, growing with `attempt`."""
    return lambda wildcards, attempt: need(stage).mem_mb(attempt)


def minutes(stage):
    """Resource function: the same of its minutes."""
    return lambda wildcards, attempt, threads: need(stage).minutes(threads, attempt)


def removal_files(wildcards):
    """Input function: what is measured of the models that counterfactual removal needs, known once it has chosen them."""
    checkpoints.removal_sets.get()
    try:
        return measured_files(experiment)
    except GudaError as error:
        raise WorkflowError(str(error)) from None


def final_outputs():
    """What `rule all` makes beside metrics.csv, which everything else here follows from."""
    by_source = [paths.metrics_by_source()] if settings.metrics.content else []
    lds = [paths.lds()] if settings.lds.subsets else []
    removal = [paths.removal(), paths.removal_figure()] if settings.removal.queries else []
    tables = [paths.rankings(), paths.significance(), paths.figure(), paths.group_sizes()]
    sweep = [paths.sweep(), paths.sweep_figure()] if experiment.variants else []
    likelihood = [paths.likelihood_table()] if settings.likelihood.queries else []
    return [*tables, *by_source, *lds, *removal, *sweep, *likelihood]


if workflow.exec_mode == ExecMode.DEFAULT:  # and not again in each job that a cluster starts
    logger.info(experiment.describe_groups())
    for note in experiment.notes():
        logger.warning(note)


# Shapes, not lists, of what there may be thousands of: Snakemake searches the constraint's text for each file, too. The
# experiment refuses names that it does not know.
wildcard_constraints:
    group=r"[^/]+",
    seed=r"\d+",
    bucket=rf"{CALIBRATION}|{BUCKET}",
    model=r"base|conditional|[^/]+/[^/]+",
    method=one_of([*experiment.score_names, *experiment.variants]),
    operator=one_of(experiment.operators),
    # In parentheses: Snakemake takes an empty constraint, as of the configured schedule alone, for none.
    schedule=f"({one_of(experiment.schedules)})",
    nearest=r"(k=\d+/)?",
