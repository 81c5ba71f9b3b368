"""Devices that networks run on, and their numerical precision."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Required, TypeVar

import torch

from guda.core.errors import GudaError
from guda.core.locks import lock_folder, take
from guda.core.records import Elapsed

LOCKS = lock_folder()
RETRY_SECONDS = 1.0
Item = TypeVar("Item")
Result = TypeVar("Result")
_held: list[IO] = []  # locks of this process, which the system releases however it ends


def use_device(gpus: int, deterministic: bool = False) -> torch.device:
    """The device for a job that requests this many GPUs: a GPU of its own if there is one, else the CPU.

    A job that requests none does not see any. A job that requests one waits until a GPU is free; on a machine without
    GPUs it runs on the CPU and says so. Matrix products and convolutions are in full float32 (no TF32), so that GPU and
    CPU scores agree; training runs under `training_precision`.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return torch.device("cpu")
    names = visible_gpus()
    if not names:
        print("no GPU found, running on the CPU", file=sys.stderr)
        return torch.device("cpu")
    device = torch.device("cuda", claim(names))
    torch.cuda.set_device(device)
    print(f"running on GPU {device.index}, {torch.cuda.get_device_name(device)}", file=sys.stderr)
    return device


def visible_gpus() -> list[str]:
    """The machine's names of the GPUs that this process may use, in torch's order."""
    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in listed.split(",")][:count] if listed else [str(index) for index in range(count)]


def claim(names: Sequence[str]) -> int:
    """Wait for a GPU that no other job holds, lock it until this process ends, and return its index.

    Raises GudaError if no lock can be made.
    """
    waiting = False
    while True:
        for index, name in enumerate(names):
            file = take(LOCKS / f"guda-gpu-{name.replace(os.sep, '_')}.lock")
            if file is not None:
                _held.append(file)
                return index
        if not waiting:
            print(f"waiting for one of {len(names)} GPU(s)", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(RETRY_SECONDS)


def ahead(
    prepare: Callable[[Item], tuple[Any, ...]], items: Iterable[Item], device: torch.device
) -> Iterator[tuple[Any, ...]]:
    """Yield `prepare(item)` for each item, in order; for a GPU, a thread prepares the next item in the meantime.

    Its tensors are then in pinned memory, from which they are copied asynchronously.
    """
    if device.type != "cuda":
        yield from map(prepare, items)
        return

    def pinned(item: Item) -> tuple[Any, ...]:
        return tuple(each.pin_memory() if isinstance(each, torch.Tensor) else each for each in prepare(item))

    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            following = thread.submit(pinned, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


class Batches:
    """Work in batches of `size` items, halved each time the GPU runs out of memory."""

    def __init__(self, size: int):
        self.size = size

    def run(self, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
        """`work` on consecutive parts of the items. Raises torch.OutOfMemoryError if a single item is too much."""
        results, start = [], 0
        while start < len(items):
            part = items[start : start + self.size]
            try:
                results.append(work(part))
                start += len(part)
            except torch.OutOfMemoryError as error:
                self.halve(len(part), error)
        return results

    def halve(self, tried: int, error: torch.OutOfMemoryError) -> None:
        """Halve the number of items at a time. Raises the error if a single item was tried."""
        if tried == 1:
            raise error
        self.size = tried // 2
        print(f"out of GPU memory, continuing with {self.size} at a time", file=sys.stderr, flush=True)


def training_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 autocast on GPUs that support it; weights, their average and the optimizer's moments stay in float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def network_precision(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Autocast of forward passes on the device to bfloat16; for float32 nothing changes. Raises GudaError."""
    if precision == "float32":
        return contextlib.nullcontext()
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise GudaError(f"elbo.precision is {precision}, which this GPU does not support; use float32")
    return torch.autocast(device.type, dtype=torch.bfloat16)


class Costs(Elapsed, total=False):
    """A job's cost, as stored in its record."""

    evaluations: Required[int]
    evaluations_per_second: float
    device: str
    peak_gpu_memory_bytes: int


def costs(device: torch.device, evaluations: int, elapsed: Elapsed) -> Costs:
    """A job's cost for its record: seconds, evaluations and the device; GPU memory is what torch reserved."""
    rate = evaluations / elapsed["seconds"]
    found = Costs(**elapsed, evaluations=evaluations, evaluations_per_second=rate, device="cpu")
    if device.type != "cpu":
        found["device"] = torch.cuda.get_device_name(device)
        found["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved(device)
    return found
