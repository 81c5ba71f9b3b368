"""Periodically saved state of an unfinished training, so that a killed job can resume.

The file lies beside the model, is not a declared output, and is removed when the model is saved. Since a step's batches
and random numbers depend only on (seed, step), the state is just the weights, their average and the optimizer moments.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from guda.core.artifacts import CURE, load_tensors, save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import STATE
from guda.core.records import Elapsed, Stopwatch
from guda.specs import Spec
from guda.training.curve import LearningCurve

SAVING = 20  # minimum time between saves, as a multiple of the time to save
REPEATED = 2  # seconds within which one stop request may arrive twice, e.g. from a terminal and a scheduler


class TrainingState:
    """The saved state of one job's training: its location, how often it is saved, and the training time so far."""

    def __init__(
        self,
        folder: str | Path,
        spec: Spec,
        interval: int | None = None,
        parent_sha256: str = "",
        minutes: float = math.inf,
    ):
        """`folder` is the model's; `parent_sha256` identifies its initial weights.

        The state is saved every `interval` optimizer steps (None: not by steps) and every so many `minutes`.
        """
        self.file = Path(folder) / STATE
        self.interval = interval
        self._pause = 60 * minutes
        self._saved = time.monotonic()
        self._asked: float | None = None  # when a signal requested to stop
        self._spec = spec
        self._parent_sha256 = parent_sha256
        self._before = Elapsed(seconds=0.0, cpu_seconds=0.0)
        self._stopwatch = Stopwatch()

    def load(self) -> tuple[int, dict[str, Tensor]]:
        """The number of steps done and the tensors; 0 and none if there is no state of this spec and parent.

        Raises ArtifactError for a damaged file.
        """
        if not self.file.exists():
            return 0, {}
        tensors, metadata = load_tensors(self.file)
        if not {"spec", "step", "seconds"} <= metadata.keys():
            raise ArtifactError(f"{self.file}: not a saved training state. {CURE}")
        if metadata["spec"] != self._spec.canonical():
            print(f"{self.file}: from another configuration; starting from step 0", file=sys.stderr)
            return 0, {}
        if metadata.get("parent_sha256", "") != self._parent_sha256:
            print(f"{self.file}: started from another model; starting from step 0", file=sys.stderr)
            return 0, {}
        self._before = Elapsed(seconds=float(metadata["seconds"]))
        if "cpu_seconds" in metadata:
            self._before["cpu_seconds"] = float(metadata["cpu_seconds"])
        print(f"{self.file}: resuming from step {metadata['step']}", file=sys.stderr)
        return int(metadata["step"]), tensors

    def due(self, step: int) -> bool:
        """Whether to save the state after `step` steps: by the step count, the clock, or a request to stop."""
        by_steps = self.interval is not None and step % self.interval == 0
        return by_steps or self._asked is not None or time.monotonic() - self._saved >= self._pause

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Save the state after `step` steps, replacing the previous one."""
        started = time.monotonic()
        progress = {"step": str(step)} | {name: repr(value) for name, value in self.elapsed().items()}
        save_tensors(self.file, tensors, self._spec, parent_sha256=self._parent_sha256, **progress)
        self._saved = time.monotonic()
        self._pause = max(self._pause, SAVING * (self._saved - started))

    @contextmanager
    def signals_wait(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM only request a stop (`end_if_asked`); a second one ends the process at once.

        Python allows signal handlers only in the main thread; in other threads signals keep their effect.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._ask) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked > REPEATED:
            raise KeyboardInterrupt
        self._asked = self._asked or now

    def end_if_asked(self, step: int, steps: int) -> None:
        """Raise KeyboardInterrupt with a message if a signal requested to stop and `step` of `steps` are saved."""
        if self._asked is not None:
            raise KeyboardInterrupt(f"stopped after step {step} of {steps} and saved; the next run goes on from there")

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)

    def elapsed(self) -> Elapsed:
        """Seconds of training, including interrupted runs up to their last saved state."""
        before, now = self._before, self._stopwatch.elapsed()
        total = Elapsed(seconds=before["seconds"] + now["seconds"])
        if "cpu_seconds" in before:
            total["cpu_seconds"] = before["cpu_seconds"] + now["cpu_seconds"]
        return total


@dataclass(frozen=True)
class Execution:
    """How a training is executed; this affects weights only through rounding and dropout.

    With `state`, training resumes from the last saved one. Batches are processed in micro-batches of `micro_batch_size`
    rows, or fewer if the GPU runs out of memory; None: whole batches. New networks are created on `device`. `progress`
    labels the progress bar; None: no bar. `curve` collects the learning curve.
    """

    state: TrainingState | None = None
    micro_batch_size: int | None = None
    device: torch.device | str = "cpu"
    progress: str | None = "training"
    curve: LearningCurve | None = None


def state_tensors(
    parameters: Sequence[Tensor], optimizer: torch.optim.AdamW, average: list[Tensor] | None
) -> dict[str, Tensor]:
    """Weights, AdamW moments and EMA weights, by kind and position."""
    tensors = {f"weights.{index}": parameter for index, parameter in enumerate(parameters)}
    for index, parameter in enumerate(parameters):
        for name in ("exp_avg", "exp_avg_sq"):
            tensors[f"{name}.{index}"] = optimizer.state[parameter][name]
    return tensors | {f"average.{index}": tensor for index, tensor in enumerate(average or [])}


@torch.no_grad()
def restore(
    tensors: dict[str, Tensor],
    step: int,
    parameters: Sequence[Tensor],
    optimizer: torch.optim.AdamW,
    average: list[Tensor] | None,
) -> None:
    """Restore the `state_tensors` of step `step` in place."""
    moments = {}
    for index, parameter in enumerate(parameters):
        parameter.copy_(tensors[f"weights.{index}"])
        moments[index] = {name: tensors[f"{name}.{index}"] for name in ("exp_avg", "exp_avg_sq")}
        moments[index]["step"] = torch.tensor(float(step))
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    for index, tensor in enumerate(average or []):
        tensor.copy_(tensors[f"average.{index}"])
