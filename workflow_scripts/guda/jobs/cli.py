"""Code shared by all stage programs: arguments, one-line errors, clean interruption."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import Field, TypeAdapter, ValidationError

from guda.config import Data, Execution, Queries
from guda.core.artifacts import write_text
from guda.core.errors import GudaError, nearest_name
from guda.core.paths import MEMORY
from guda.core.spec import digest

if TYPE_CHECKING:
    import torch

    from guda.plan.config import Config

INTERRUPTED = 130
COLLECTED = 5_000  # new objects after which the garbage collector runs; Python's default is 700


class RunSettings(Execution):
    """How a job runs, without effect on results: the section `execution`, and where earlier results are kept."""

    cache: str = Field("", description="Shared folder of trained models to look in and to add to; '': none.")
    store: str = Field("", description="Folder of values of single samples to look in and to add to; '': none.")


def stage_parser(description: str | None, network: bool = False) -> argparse.ArgumentParser:
    """An argument parser with --spec, and with --threads, --gpus and --execution for stages that run a network."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog="The first line of a job's log under results/logs/ is the exact command that ran.",
    )
    parser.add_argument(
        "--spec",
        required=True,
        metavar="JSON",
        help="the job's spec, as JSON or as the name of a file that contains it",
    )
    if network:
        add_network_arguments(parser)
    return parser


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --threads, --gpus and --execution: how a network is run."""
    parser.add_argument("--threads", type=int, help="CPU threads (overrides --execution)")
    parser.add_argument("--gpus", type=int, choices=[0, 1], help="1: use a GPU if there is one (overrides --execution)")
    parser.add_argument(
        "--execution",
        type=run_settings,
        default="{}",
        metavar="JSON",
        help="the non-default keys of the section `execution`, plus `cache`, the shared folder of trained models, and "
        "`store`, the folder of values of single samples",
    )


def add_results_arguments(parser: argparse.ArgumentParser, read: str) -> None:
    """Add --results and --query-set, the set of queries; `read` names what is read there."""
    parser.add_argument("--results", required=True, help=f"results folder with {read}")
    parser.add_argument("--query-set", default="", metavar="NAME", help="queries.name of the configuration, if any")


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add --data, the source of the training images; the spec identifies their content."""
    parser.add_argument("--data", required=True, metavar="JSON", help="the section `data` of the configuration")


def add_queries_argument(parser: argparse.ArgumentParser) -> None:
    """Add --queries, the source of queries that are not generated."""
    parser.add_argument("--queries", required=True, metavar="JSON", help="the section `queries` of the configuration")


def add_pipeline_argument(parser: argparse.ArgumentParser) -> None:
    """Add --pipeline, the source of the text-to-image pipeline; the spec identifies its content."""
    parser.add_argument(
        "--pipeline", required=True, help="the pipeline: a diffusers folder, or a hub id OWNER/NAME@COMMIT"
    )


def run_settings(argument: str) -> RunSettings:
    """The settings of --execution. Raises GudaError."""
    return _read("--execution: invalid section `execution`", RunSettings, argument)


def data_settings(argument: str) -> Data:
    """The settings of --data. Raises GudaError."""
    return _read("--data: invalid section `data`", Data, argument)


def queries_settings(argument: str) -> Queries:
    """The settings of --queries. Raises GudaError."""
    return _read("--queries: invalid section `queries`", Queries, argument)


def all_settings(argument: str) -> Config:
    """The settings of --config, the whole configuration. Raises GudaError."""
    from guda.plan.config import Config  # imports the sections of all methods, which few jobs need

    return _read("--config: invalid configuration", Config, argument)


def imported_model(argument: str, name: str) -> tuple[str, str]:
    """The source of the model `name` and its config key, from --imports. Raises GudaError."""
    imports = _read("--imports: not an object of pairs", dict[str, tuple[str, str]], argument)
    if name not in imports:
        raise GudaError(f"--imports: no model {name!r}; {nearest_name(name, list(imports))}")
    return imports[name]


def _read(problem: str, kind: Any, argument: str) -> Any:
    try:
        return TypeAdapter(kind).validate_json(argument)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise GudaError(f"{problem} ({where}{first['msg']})") from None


def spec_text(argument: str) -> str:
    """The JSON text of --spec, read from a file if --spec names one. Raises GudaError."""
    if argument.lstrip().startswith("{"):
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GudaError(f"--spec: {argument[:80]!r} is neither a JSON object nor a readable file ({error})") from None


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage's main function and exit: 0; 1 with a one-line message for errors; 130 when interrupted.

    Cluster profiles retry failed jobs, which may have run out of memory or time. GUDA_ATTEMPT counts the attempts
    (unset when run by hand): a retry of a call that failed with an error only the user can fix exits at once.
    """
    collect_rarely()
    signal.signal(signal.SIGTERM, _interrupt)
    call = shlex.join([sys.executable, *sys.argv])
    if not sys.stderr.isatty():
        print("$", call, file=sys.stderr, flush=True)
    attempt, refusal = int(os.getenv("GUDA_ATTEMPT", "0")), MEMORY / f"refused-{digest(call)}.txt"
    if attempt > 1 and refusal.is_file():
        sys.exit(f"error: {refusal.read_text(encoding='utf-8')} (not retried: another attempt would fail the same way)")
    refusal.unlink(missing_ok=True)
    try:
        main()
    except (GudaError, OSError, FloatingPointError) as error:
        # A retry may succeed after a full disk or a lost network share, but not with invalid input.
        if isinstance(error, GudaError) and error.__cause__ is None and attempt:
            write_text(refusal, str(error))
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted; no partial output was left behind", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def collect_rarely() -> None:
    """Run the garbage collector rarely from now on, and not at the end of the process, which frees all memory anyway.

    Loading modules makes many objects and no garbage. With Python's defaults, a fifth of a short job's time is spent on
    looking for some.
    """
    gc.set_threshold(COLLECTED)
    atexit.register(gc.freeze)


def device_of(args: argparse.Namespace) -> torch.device:
    """The device requested by a stage's arguments. Also sets torch's number of CPU threads."""
    from guda.core.device import use_device
    from guda.jobs.diffusers_import import import_networks_alone

    import_networks_alone()
    set_threads(args.threads or args.execution.threads)
    gpus = args.execution.gpus if args.gpus is None else args.gpus
    return use_device(gpus, args.execution.deterministic)


def set_threads(threads: int) -> None:
    """Let torch use this many CPU threads."""
    import torch

    torch.set_num_threads(threads)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
