"""Where networks run, and in which precision."""

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
_held: list[IO] = []  # locks of this process, which the system releases when it ends, however it ends


def use_device(gpus: int, deterministic: bool = False) -> torch.device:
    """The device for a job that asks for this many GPUs: one of its own when there is any, else the CPU.

    A job that asks for none sees none. One that asks waits until a GPU is free; one that finds no GPU runs on the CPU
    and says so. Matrix products and convolutions are in full float32 (no TF32), so that scores of GPU and CPU agree;
    training runs under `training_precision`.
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
    """What the machine calls the GPUs that this process may use, in the order in which torch numbers them."""
    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in listed.split(",")][:count] if listed else [str(index) for index in range(count)]


def claim(names: Sequence[str]) -> int:
    """The position of a GPU that no other job holds, and does not get until this process ends; waits for one.

    Raises GudaError where there can be no lock.
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
    """What `prepare` gives for each of the items, in order; for a GPU the next in a thread while it works on one.

    Tensors are then in pinned memory, from where they are copied without waiting.
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
    """Work in batches of `size` items, or of half as many each time that the GPU runs out of memory."""

    def __init__(self, size: int):
        self.size = size

    def run(self, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
        """`work` on consecutive parts of the items. Raises torch.OutOfMemoryError when a single item is too much."""
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
        """Half as many items at a time as were tried. Raises the error when that was a single one."""
        if tried == 1:
            raise error
        self.size = tried // 2
        print(f"out of GPU memory, going on with {self.size} at a time", file=sys.stderr, flush=True)


def training_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 autocast on GPUs that have it; weights, their average and the optimiser's moments stay in float32."""
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
    """What a record says of a job's work."""

    evaluations: Required[int]
    evaluations_per_second: float
    device: str
    peak_gpu_memory_bytes: int


def costs(device: torch.device, evaluations: int, elapsed: Elapsed) -> Costs:
    """What a job's record says of its work: seconds, evaluations, and the device; GPU memory is what torch reserved."""
    rate = evaluations / elapsed["seconds"]
    found = Costs(**elapsed, evaluations=evaluations, evaluations_per_second=rate, device="cpu")
    if device.type != "cpu":
        found["device"] = torch.cuda.get_device_name(device)
        found["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved(device)
    return found
