"""The validated experiment, and what all rules share."""

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

# Of the millions of objects of a plan all stay: looking for some to free would take a fifth of the time.
gc.set_threshold(1_000_000)

SCRIPTS = str(Path(str(workflow.current_basedir)).parent / "workflow_scripts")
if not Path(SCRIPTS).is_dir():
    raise WorkflowError(f"{SCRIPTS} is no folder here; clone the project and name the Snakefile of the clone")
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

# Where a path of the rules lies, seen from the working folder: the same, but in a module with a prefix.
located = workflow.modifier.path_modifier.replace_prefix


def readable(make, *arguments):
    """What `make` gives, or what the user has to mend as one message instead of a traceback."""
    try:
        return make(*arguments)
    except GudaError as error:
        raise WorkflowError(str(error)) from None


def load_experiment():
    """The experiment of the merged configuration."""
    with suppress(OSError):  # Snakemake makes it later; what planning found out about images is kept in it
        Path(".snakemake").mkdir(exist_ok=True)
    main = workflow.modifier.is_main_snakefile()
    experiment = planned(config, workflow.configfiles if main else [], located)
    if main and workflow.exec_mode == ExecMode.DEFAULT:
        reports.check_asked(experiment, sys.argv[1:])  # Snakemake tells the rules nothing of its targets
    return experiment


experiment = readable(load_experiment)
paths = experiment.paths
settings = experiment.config
RESULTS = str(experiment.on_disk.results)
QUERY_SET = settings.queries.name
OF_SET = [SETS, QUERY_SET] if QUERY_SET else []  # where logs of jobs are that know of its answers

# PATH begins with the Python that runs Snakemake, not with what the shell finds first.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# What the jobs of this experiment read first. Named by its content, so that a plan of other settings leaves a run that
# goes on its own.
EXPORTS = exports(experiment, SCRIPTS, os.getenv("GUDA_CACHE", ""))
ENVIRONMENT_FILE = str(MEMORY / f"environment-{digest(EXPORTS)}.sh")
readable(write_text, ENVIRONMENT_FILE, EXPORTS)


def environment(wildcards, output):
    """Parameter: the beginning of a job's commands. Snakemake does not compare what may depend on `output`."""
    return f"export GUDA_ATTEMPT={workflow.attempt} && . {shlex.quote(ENVIRONMENT_FILE)} &&"


# --- What rules share, directive by directive


def logs(*parts):
    """The files beside a job's results: what it said, and its spec, which may be too long for a command line."""
    return {"text": paths.log(*parts), "spec": paths.spec_file(*parts)}


def needs(stage, gpu=False):
    """What a job of the stage asks a cluster for: memory and minutes, more with each `attempt`, and the GPU."""

    def mem_mb(wildcards, attempt):
        return need(stage).mem_mb(attempt)

    def runtime(wildcards, attempt, threads):
        return need(stage).minutes(threads, attempt)

    return {"mem_mb": mem_mb, "runtime": runtime} | ({"gpu": settings.execution.gpus} if gpu else {})


def parameters(spec):
    """The parameters of a job: its spec, on whose change it runs again, and two that Snakemake does not compare."""
    return {
        "environment": environment,
        "spec": lambda wildcards: spec(wildcards).canonical(),
        "results": lambda wildcards, output: RESULTS,
    }


# In place of that `results` where Snakemake remembers it of finished jobs, which without it would run again.
COMPARED = {"results": lambda wildcards: RESULTS}


def command(program, *flags):
    """A job's shell command: its spec is written beside its log, its environment read, its program called."""
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
# Flags for where a job reads what is said of this set of queries.
RESULTS_OF_SET = "--results {params.results:q}" + (f" --query-set {QUERY_SET}" if QUERY_SET else "")
# Flags for what a job writes, see `recorded`.
RECORDED = "--output {output.file:q} --record {output.record:q}"


def model_spec(name):
    """The function of wildcards that gives the spec of a model, whose name may have wildcards in it."""
    return lambda wildcards: experiment.model_spec(name.format(**wildcards))


def neighbors_spec(wildcards):
    return experiment.neighbors_spec(wildcards.group, number(wildcards.nearest))


def elbo_spec(wildcards):
    return experiment.elbo_spec(wildcards.model, wildcards.bucket, wildcards.schedule)


def made_model(name):
    """The outputs of a rule that makes this model."""
    return {**model_files(name), "record": paths.model_record(name)}


def recorded(path):
    """The outputs of a rule that makes a file and, beside it, the record of what it cost."""
    return {"file": path, "record": record_of(path)}


def reported(path, name, category):
    """The same of a table or figure that is in Snakemake's report, with this name of its caption."""
    return {"file": report(path, caption=f"captions/{name}.rst", category=category), "record": record_of(path)}


def foreign_model(name):
    """`foreign` of the same rule."""
    return foreign(model_files(name)["weights"], model_spec(name))


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
    return str(readable(settle_dates, Path(RESULTS)).absolute())


if workflow.exec_mode == ExecMode.DEFAULT:  # before any date is looked at, and by the first process alone
    foreign_mark()


changes = Changes()


def foreign(path, spec):
    """Input function: nothing, or a mark that makes the job run, since the file at its output is of another spec.

    Snakemake compares parameters with those that it remembers. Where it remembers nothing (results/ came from another
    folder or machine, without .snakemake) a file of another configuration would pass for this one's.
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
    """What a job of the stage needs of a cluster."""
    return stage_needs(experiment)[stage]


def removal_files(wildcards):
    """Input function: what is measured of the models that counterfactual removal needs, known once it has chosen them."""
    checkpoints.removal_sets.get()
    return readable(reports.removal_files, experiment)


if workflow.exec_mode == ExecMode.DEFAULT:  # and not again in each job that a cluster starts
    logger.info(experiment.describe_groups())
    for note in experiment.notes():
        logger.warning(note)


def say(line, level="info"):
    """Write a line into Snakemake's log, unless it is to be quiet about all."""
    getattr(logger, level)(line, extra={"quietness": Quietness.ALL})


# Of the workflow that is run, by the process that runs it. Logger plugins, which not every version 9 has, have their ways.
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
        say("\n".join(["What did not come to its end:", *narration.failures()]), "error")


# Models that are retrained to evaluate methods.
SUBSETS = rf"subset-{settings.lds.seed}/\d+"
REMOVED = r"removed-\d+/[0-9a-f]+"


# Shapes, not lists, of what there may be thousands of: Snakemake searches the constraint's text for each file, too. The
# experiment refuses names that it does not know.
wildcard_constraints:
    group=r"[^/]+",
    seed=r"\d+",
    bucket=f"{CALIBRATION}|{experiment.bucket_shape}",
    model=rf"{BASES}|{CONDITIONAL}|[^/]+/[^/]+",
    method=one_of([*experiment.oracles, *experiment.methods_used, *experiment.variants]),
    operator=one_of(experiment.operators),
    # In parentheses: Snakemake takes an empty constraint, as of the configured schedule alone, for none.
    schedule=f"({one_of(experiment.schedules)})",
    nearest=r"(k=\d+/)?",
