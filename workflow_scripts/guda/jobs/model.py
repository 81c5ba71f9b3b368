"""How a job obtains a model: from the shared cache, or by training, resumed from a saved state if there is one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guda.core.paths import MODEL_FILES, RECORD
from guda.jobs.cli import device_of
from guda.models.cache import ModelCache
from guda.specs import ModelSpec

if TYPE_CHECKING:
    import torch

    from guda.training.curve import Check
    from guda.training.state import Execution


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, measured and saved, once its inputs are read.

    `train` returns the network and the evaluations spent, given how to execute; `measure` returns the health for its
    record; `save` returns the files written into a folder. `check` is the one of its learning curve.
    """

    train: Callable[[Execution], tuple[torch.nn.Module, int]]
    measure: Callable[[Any], dict[str, Any]]
    save: Callable[[Path, Any], list[Path]]
    progress: str = "training"  # label of the progress bar
    check: Check | None = None


def make_model(
    args: Namespace,
    spec: ModelSpec,
    prepare: Callable[[torch.device], Recipe],
    parent_sha256: str = "",
    files: tuple[str, ...] = MODEL_FILES,
    **origin: str,
) -> None:
    """Write a model into the folder `args.model`: its `files`, the weights last, and a record.

    `prepare` reads the inputs; it is called only if the cache lacks the model. `parent_sha256` is that of the initial
    weights, if any; `origin` is what `ModelCache.fetch` compares with a cached model.
    """
    cache = ModelCache(args.execution.cache, files)
    if cache.fetch(args.model, spec, parent_sha256, **origin):
        return
    device = device_of(args)

    from guda.core.device import costs
    from guda.core.records import write_record
    from guda.training.curve import LearningCurve
    from guda.training.state import Execution, TrainingState

    recipe = prepare(device)
    settings, curve = args.execution, LearningCurve(recipe.check)
    state = TrainingState(
        args.model, spec, settings.checkpoint_steps, parent_sha256, minutes=settings.checkpoint_minutes
    )
    network, evaluations = recipe.train(Execution(state, settings.micro_batch_size, device, recipe.progress, curve))
    elapsed = state.elapsed()
    found = {"health": recipe.measure(network)} | curve.record()
    written = recipe.save(Path(args.model), network)
    write_record(f"{args.model}/{RECORD}", spec, written, **found, **costs(device, evaluations, elapsed))
    state.remove()
    cache.store(args.model, spec, parent_sha256)
