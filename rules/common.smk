"""The validated experiment, and helpers that all rules share."""

import gc
import os
import re
import shlex
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_executor_plugins.settings import ExecMode

# A plan's millions of objects all stay alive: garbage collection would take a fifth of the time.
gc.set_threshold(1_000_000)

SCRIPTS = str(Path(str(workflow.current_basedir)).parent / "workflow_scripts")
if not Path(SCRIPTS).is_dir():
    raise WorkflowError(f"{SCRIPTS} is not a folder; clone the project and use the Snakefile in the clone")
sys.path.insert(0, SCRIPTS)

from guda.core.artifacts import made_for, write_text
from guda.plan.earlier_results import settle_dates
from guda.core.errors import GudaError
from guda.plan import reports
from guda.plan.experiment import planned
from guda.plan.handover import exports
from guda.core.paths import (
    ANCHORS,
    BASE,
    BASES,
    CALIBRATION,
    CLASSIFIER,
    CONDITIONAL,
    MEMORY,
    SETS,
    TRAINING,
    logo_model,
    own_base,
    proxy_model,
    record_of,
    tuned_model,
    unlearned_model,
)
from guda.plan.changes import Changes
from guda.plan.narration import Narration
from guda.plan.resources import needs as stage_needs
from guda.plan.resources import work
from guda.plan.summary import summary
from guda.core.spec import digest

# From a path in the rules to the path on disk: they differ only in a module with a prefix.
located = workflow.modifier.path_modifier.replace_prefix


def readable(make, *arguments):
    """The result of `make`; errors that the user must fix become one message instead of a traceback."""
    try:
        return make(*arguments)
    except GudaError as error:
        raise WorkflowError(str(error)) from None


def load_experiment():
    """The experiment of the merged configuration."""
    with suppress(OSError):  # Snakemake makes it later; planning remembers checked images in it
        Path(".snakemake").mkdir(exist_ok=True)
    main = workflow.modifier.is_main_snakefile()
    experiment = planned(config, workflow.configfiles if main else [], located)
    if main and workflow.exec_mode == ExecMode.DEFAULT:
        reports.check_asked(experiment, sys.argv[1:])  # Snakemake does not pass its targets to the rules
    return experiment


experiment = readable(load_experiment)
paths = experiment.paths
settings = experiment.config
RESULTS = str(experiment.on_disk.results)
QUERY_SET = settings.queries.name
OF_SET = [SETS, QUERY_SET] if QUERY_SET else []  # where jobs for this query set log

# Put the Python that runs Snakemake first in PATH, whatever the shell would find first.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# The environment that this experiment's jobs read first. Named by its content, so that planning with other settings
# does not affect a run in progress.
EXPORTS = exports(experiment, SCRIPTS, os.getenv("GUDA_CACHE", ""))
ENVIRONMENT_FILE = str(MEMORY / f"environment-{digest(EXPORTS)}.sh")
readable(write_text, ENVIRONMENT_FILE, EXPORTS)


def environment(wildcards, output):
    """Parameter: the start of a job's commands. Snakemake does not compare parameters that may depend on `output`."""
    return f"export GUDA_ATTEMPT={workflow.attempt} && . {shlex.quote(ENVIRONMENT_FILE)} &&"


# --- Shared parts of rules, directive by directive


def logs(*parts):
    """A job's log files: its output, and its spec, which may be too long for a command line."""
    return {"text": paths.log(*parts), "spec": paths.spec_file(*parts)}


def needs(stage, gpu=False):
    """Resources that a job of the stage requests: memory and minutes, more with each `attempt`, and the GPU."""

    def mem_mb(wildcards, attempt):
        return need(stage).mem_mb(attempt)

    def runtime(wildcards, attempt, threads):
        return need(stage).minutes(threads, attempt)

    return {"mem_mb": mem_mb, "runtime": runtime} | ({"gpu": settings.execution.gpus} if gpu else {})


def parameters(spec):
    """The parameters of a job: its spec, whose changes make it rerun, and two that Snakemake does not compare."""
    return {
        "environment": environment,
        "spec": lambda wildcards: spec(wildcards).canonical(),
        "results": lambda wildcards, output: RESULTS,
    }


# Replaces that `results` in rules whose finished jobs Snakemake recorded with it, since they would rerun without it.
COMPARED = {"results": lambda wildcards: RESULTS}


def command(program, *flags):
    """A job's shell command: write its spec beside its log, read its environment, call its program."""
    return " ".join(
        [
            "printf %s {params.spec:q} > {log.spec:q};",
            f'{{params.environment}} python "$GUDA_SCRIPTS/{program}" --spec {{log.spec:q}}',
            *flags,
            "> {log.text:q} 2>&1",
        ]
    )


# Flags of programs that run a network: resources, which a profile may change, and the rest of `execution`.
NETWORK = '--threads {threads} --gpus {resources.gpu} --execution "$GUDA_EXECUTION"'
# Flags for where a job reads results for this query set.
RESULTS_OF_SET = "--results {params.results:q}" + (f" --query-set {QUERY_SET}" if QUERY_SET else "")
# Flags for what a job writes, see `recorded`.
RECORDED = "--output {output.file:q} --record {output.record:q}"


def model_spec(name):
    """A function from wildcards to the spec of a model, whose name may contain wildcards."""
    return lambda wildcards: experiment.model_spec(name.format(**wildcards))


def neighbors_spec(wildcards):
    return experiment.neighbors_spec(wildcards.group, number(wildcards.nearest))


def elbo_spec(wildcards):
    return experiment.elbo_spec(wildcards.model, wildcards.bucket, wildcards.schedule)


def made_model(name):
    """The outputs of a rule that makes this model."""
    return {**model_files(name), "record": paths.model_record(name)}


def recorded(path):
    """The outputs of a rule that makes a file and the record of its cost beside it."""
    return {"file": path, "record": record_of(path)}


def reported(path, name, category):
    """The same for a table or figure in Snakemake's report, with this caption name."""
    return {"file": report(path, caption=f"captions/{name}.rst", category=category), "record": record_of(path)}


def foreign_model(name):
    """`foreign` for the same rule."""
    return foreign(model_files(name)["weights"], model_spec(name))


def one_of(names):
    """Wildcard constraint: exactly these names."""
    return "|".join(re.escape(name) for name in names)


def number(text):
    """The number in a wildcard such as k=20/, or None for an empty one."""
    digits = re.sub(r"\D", "", text)
    return int(digits) if digits else None


def model_files(model):
    """The declared files of a model's folder, by name."""
    return experiment.family.model_files(model)


@cache
def foreign_mark():
    """A file newer than every output, by its absolute path, which no module's prefix changes."""
    return str(readable(settle_dates, Path(RESULTS)).absolute())


if workflow.exec_mode == ExecMode.DEFAULT:  # before Snakemake reads any file's time, and only in the first process
    foreign_mark()


changes = Changes()


def foreign(path, spec):
    """Input function: nothing, or a mark that makes the job run because the existing output has another spec.

    Snakemake compares parameters with those that it recorded. Without records (results/ came from another folder or
    machine, without .snakemake), a file of another configuration would count as up to date.
    """

    def marks(wildcards):
        file = path.format(**wildcards)
        found = made_for(located(file))
        if found is None or found == (wanted := spec(wildcards).canonical()):
            return []
        changes.add(str(Path(file).relative_to(paths.results)), found, wanted)
        return [foreign_mark()]

    return marks


@cache
def need(stage):
    """The resources that a job of the stage needs."""
    return stage_needs(experiment)[stage]


def removal_files(wildcards):
    """Input function: the files of counterfactual removal, known once the sets to remove are chosen."""
    checkpoints.removal_sets.get()
    return readable(reports.removal_files, experiment)


if workflow.exec_mode == ExecMode.DEFAULT:  # not again in each job on a cluster
    logger.info(experiment.describe_groups())
    for note in experiment.notes():
        logger.warning(note)


def say(line, level="info"):
    """Write a line to Snakemake's log, unless everything is to be quiet."""
    getattr(logger, level)(line, extra={"quietness": Quietness.ALL})


# Only in the main workflow and process, and without logger plugins, which format records themselves.
narration = None
if workflow.modifier.is_main_snakefile() and workflow.exec_mode == ExecMode.DEFAULT:
    if not getattr(workflow.output_settings, "log_handler_settings", None):
        narration = Narration(say, changes, lambda: work(experiment), workflow.output_settings.dryrun, foreign_mark())
        logger.addFilter(narration)


onsuccess:
    if narration and narration.answered:
        lines, warnings = summary(experiment)
        for warning in warnings:
            say(warning, "warning")
        say("\n".join(lines))


onerror:
    if narration and narration.failures():
        say("\n".join(["Failed jobs:", *narration.failures()]), "error")


# Models retrained to evaluate methods.
SUBSETS = rf"subset-{settings.lds.seed}/\d+"
REMOVED = r"removed-\d+/[0-9a-f]+"


# Patterns rather than lists for names of which there may be thousands: Snakemake also searches the constraint's text for
# each file. The experiment rejects unknown names.
wildcard_constraints:
    group=r"[^/]+",
    seed=r"\d+",
    bucket=f"{CALIBRATION}|{experiment.bucket_shape}",
    model=rf"{BASES}|{CONDITIONAL}|[^/]+/[^/]+",
    method=one_of([*experiment.oracles, *experiment.methods_used, *experiment.variants]),
    operator=one_of(experiment.operators),
    # In parentheses: Snakemake treats an empty constraint, as with only the configured schedule, as no constraint.
    schedule=f"({one_of(experiment.schedules)})",
    nearest=r"(k=\d+/)?",
