"""What all stage programs share: arguments, one-line errors, clean interruption."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from guda.config import Data, Queries
from guda.core.artifacts import write_text
from guda.core.errors import GudaError, nearest_name
from guda.core.paths import MEMORY
from guda.plan.config import Config
from guda.specs import digest

if TYPE_CHECKING:
    import torch

INTERRUPTED = 130


def stage_parser(description: str | None, threads: bool = False) -> argparse.ArgumentParser:
    """An argument parser with what every stage takes: --spec, and --threads for those that run a network."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog="The exact call of a job that has run stands in the first line of its log under results/logs/.",
    )
    parser.add_argument(
        "--spec", required=True, metavar="JSON", help="the job's spec, as JSON or as a file that holds it"
    )
    if threads:
        parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --checkpoint-steps, --micro-batch-size and --cache, for the stages that train."""
    parser.add_argument(
        "--checkpoint-steps",
        type=int,
        default=500,
        help="save the state of training every so many steps; a killed job goes on from there (default: %(default)s)",
    )
    parser.add_argument(
        "--micro-batch-size",
        type=int,
        default=0,
        help="work a batch off in parts of so many samples, to the same model; 0: as a whole (default: %(default)s)",
    )
    parser.add_argument(
        "--cache", default="", metavar="FOLDER", help="shared folder of trained models to look in and to add to"
    )


def add_checkpointing_argument(parser: argparse.ArgumentParser) -> None:
    """Add --gradient-checkpointing, for the stages that train large networks."""
    parser.add_argument(
        "--gradient-checkpointing",
        type=int,
        choices=[0, 1],
        default=0,
        help="compute again on the way back what was not kept: less memory, the same model, slower (default: 0)",
    )


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add --data, which says where the training images are; what they must be is in the spec."""
    parser.add_argument("--data", required=True, metavar="JSON", help="the section `data` of the configuration")


def add_queries_argument(parser: argparse.ArgumentParser) -> None:
    """Add --queries, which says where queries come from that are not generated."""
    parser.add_argument("--queries", required=True, metavar="JSON", help="the section `queries` of the configuration")


def add_pipeline_argument(parser: argparse.ArgumentParser) -> None:
    """Add --pipeline, which says where the text-to-image pipeline is; what it must be is in the spec."""
    parser.add_argument("--pipeline", required=True, help="pipeline: a diffusers folder, or a hub id OWNER/NAME@COMMIT")


def data_settings(argument: str) -> Data:
    """The settings of --data. Raises GudaError."""
    return _read("--data: no valid section `data`", Data, argument)


def queries_settings(argument: str) -> Queries:
    """The settings of --queries. Raises GudaError."""
    return _read("--queries: no valid section `queries`", Queries, argument)


def all_settings(argument: str) -> Config:
    """The settings of --config, which has the whole configuration. Raises GudaError."""
    return _read("--config: no valid configuration", Config, argument)


def imported_model(argument: str, name: str) -> tuple[str, str]:
    """Where the model `name` comes from and the key that says so, by --imports. Raises GudaError."""
    imports = _read("--imports: no object of pairs", dict[str, tuple[str, str]], argument)
    if name not in imports:
        raise GudaError(f"--imports: no model {name!r}; {nearest_name(name, list(imports))}")
    return imports[name]


def _read(problem: str, kind: Any, argument: str) -> Any:
    try:
        return TypeAdapter(kind).validate_json(argument)
    except ValidationError as error:
        raise GudaError(f"{problem} ({error.errors()[0]['msg']})") from None


def spec_text(argument: str) -> str:
    """The JSON text of --spec, which may name a file instead. Raises GudaError."""
    if argument.lstrip().startswith("{"):
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GudaError(f"--spec: {argument[:80]!r} is no JSON object, and no file that holds one ({error})") from None


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage's main function and exit: 0, 1 with one message for what a user can mend, 130 when interrupted.

    A cluster's profile starts failed jobs again, for want of memory or time. Another attempt at the same call, which
    GUDA_ATTEMPT counts, ends at once where the last one ended with what a user has to mend. By hand it is not set.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    call = shlex.join([sys.executable, *sys.argv])
    if not sys.stderr.isatty():
        print("$", call, file=sys.stderr, flush=True)
    attempt, refusal = int(os.getenv("GUDA_ATTEMPT", "0")), MEMORY / f"refused-{digest(call)}.txt"
    if attempt > 1 and refusal.is_file():
        sys.exit(f"error: {refusal.read_text(encoding='utf-8')} (not tried again: another attempt cannot help)")
    refusal.unlink(missing_ok=True)
    try:
        main()
    except (GudaError, OSError, FloatingPointError) as error:
        # What a full disk or a lost network share is to blame for may go well next time; what the user gave will not.
        if isinstance(error, GudaError) and error.__cause__ is None and attempt:
            write_text(refusal, str(error))
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; nothing was left half-written", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --gpus and --deterministic, for the stages that run a network; see `device_of`."""
    parser.add_argument(
        "--gpus", type=int, choices=[0, 1], default=0, help="run on a GPU of its own when there is any (default: 0)"
    )
    parser.add_argument(
        "--deterministic", type=int, choices=[0, 1], default=0, help="GPU: equal bits in each run, slower (default: 0)"
    )


def device_of(args: argparse.Namespace) -> torch.device:
    """The device that a stage's arguments ask for; torch then uses as many CPU threads as they say."""
    from guda.core.device import use_device

    set_threads(args.threads)
    return use_device(args.gpus, bool(args.deterministic))


def set_threads(threads: int) -> None:
    """Let torch use this many CPU threads."""
    import torch

    torch.set_num_threads(threads)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
