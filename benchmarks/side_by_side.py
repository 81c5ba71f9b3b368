"""Shared code of the speed benchmarks: the alternatives are timed in turn in one process and reported as ratios."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))


def device_and_name(threads: int) -> tuple[torch.device, str]:
    """A GPU if there is one, else the CPU with this many threads."""
    import torch

    from guda.core.device import use_device

    torch.set_num_threads(threads)
    device = use_device(1)
    return device, torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {threads} thread(s)"


def default_presets(device: torch.device) -> list[str]:
    """'' for config.yaml, and CIFAR-10 only on a GPU, since its network takes minutes per step on a CPU."""
    return [""] if device.type == "cpu" else ["", "cifar10"]


def seconds(works: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Seconds of each function in each round; the functions take turns, after a warm-up round.

    On a CPU with one thread these are CPU seconds, which are less affected by other programs.
    """
    import torch

    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            started = clock()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                found[name].append(clock() - started)
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over rounds of how many times longer `theirs` takes than `ours`."""
    return median(other / own for own, other in zip(ours, theirs, strict=True))


def report(benchmark: str, device: str, **figures: object) -> None:
    """One line of JSON."""
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps({"benchmark": benchmark, "device": device} | rounded), flush=True)


def network(preset: str, device: torch.device):
    """An untrained denoiser of a preset, and its configuration; '' is config.yaml alone."""
    import torch

    from guda.config.file import read_yaml
    from guda.models.denoisers import new_denoiser
    from guda.models.noise_schedule import NoiseSchedule
    from guda.plan.config import load_config

    values = read_yaml(str(ROOT / "config.yaml"))
    if preset:
        for section, overlay in read_yaml(str(ROOT / "presets" / f"{preset}.yaml")).items():
            known = values.get(section)
            values[section] = known | overlay if isinstance(known, dict) and isinstance(overlay, dict) else overlay
    config = load_config(values)
    shape = {"": (1, 8, 8), "fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[preset]
    torch.manual_seed(0)
    return new_denoiser(config.unet, NoiseSchedule.from_config(config.noise_schedule), shape).eval().to(device), config
