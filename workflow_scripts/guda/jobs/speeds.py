"""Speed of this machine for each kind of job, measured on a small part of the work, for `estimate.py`.

The network, batches and images are the experiment's; the weights come from a few training steps.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from guda.core.paths import BASE
from guda.core.records import FORWARD_AND_BACKWARD
from guda.core.seeding import chosen
from guda.data.training_set import TrainingSet
from guda.methods.kernel.terms import fitted_kernels, kernel_terms
from guda.models.denoisers import UNetDenoiser, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.models.sampling import BATCH_SIZE, generate
from guda.plan.estimate import Speed
from guda.plan.precomputed import kernel_spec
from guda.scoring.elbo import kl_terms
from guda.scoring.features import denoiser_features
from guda.scoring.probe import probe_errors, probes
from guda.training.loop import train
from guda.training.state import Execution
from guda.unlearning import GUDA
from guda.unlearning.retrack.compute import unlearn
from guda.unlearning.retrack.neighbors import nearest_retained

if TYPE_CHECKING:
    from guda.plan.experiment import Experiment

SAMPLE = 2048  # training images used, at most
STEPS, UNLEARNING_STEPS, SAMPLING_STEPS, QUERIES = 15, 8, 4, 32
ENOUGH = 10  # seconds of training
# Modules that jobs load at startup: jobs with a network, and jobs that compute tables.
NETWORK = "guda.training.loop, guda.scoring.elbo, guda.scoring.probe, guda.unlearning"
TABLE = "guda.evaluation.metrics_table, guda.evaluation.significance, guda.methods"
# Measured: seconds that Snakemake takes to start a job and to notice that it has finished.
SNAKEMAKE = 0.5


class Measured:
    """The speeds of an experiment's jobs on a device, and the size of its models."""

    def __init__(self, experiment: Experiment, device: torch.device):
        self.experiment, self.device = experiment, device
        self.config, self.schedule = experiment.config, NoiseSchedule.from_config(experiment.config.noise_schedule)
        ids = list(experiment.dataset.table["id"])
        rows = chosen(ids, SAMPLE, "speed")
        self.share = len(rows) / len(ids)
        sample = experiment.dataset.select(rows)
        self.samples = TrainingSet(torch.from_numpy(sample.images), list(sample.table["id"]))
        self.execution = Execution(micro_batch_size=self.config.execution.micro_batch_size, device=device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Wall-clock seconds of some work; CPU seconds for a single thread, since the machine may be busy."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        clock = time.process_time if self.device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        started = clock()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    def speeds(self, kinds: set[str]) -> dict[str, Speed]:
        """The speed of each of these kinds of jobs."""
        measures = {
            "table": lambda: Speed(SNAKEMAKE + _importing(TABLE)),
            "train": self.training,
            "unlearn": self.unlearning,
            "sample": self.sampling,
            "elbo": self.scoring,
            "features": self.features,
            "kernel": self.kernel,
            "neighbors": self.neighbors,
        }
        return {kind: measures[kind]() for kind in measures if kind in kinds}

    @cached_property
    def start(self) -> float:
        """Startup seconds of a job with a network."""
        return SNAKEMAKE + _importing(NETWORK)

    @cached_property
    def trained(self) -> tuple[UNetDenoiser, float]:
        """A denoiser after a few training steps, and the seconds per step."""
        found: list[UNetDenoiser] = []

        def of_steps(n: int) -> float:
            few = self.config.training.model_copy(update={"steps": n, "warmup_steps": 0})
            images, unet = self.samples.images, self.config.unet
            return self.seconds(lambda: found.append(train(images, unet, self.schedule, few, self.execution)[0]))

        first = of_steps(2)
        steps = max(2, min(STEPS, int(2 * ENOUGH / first)))
        twice = [of_steps(steps) / steps for _ in range(2)]
        return found[-1], min(twice)  # the slower one was delayed by other processes

    @property
    def denoiser(self) -> UNetDenoiser:
        return self.trained[0]

    @cached_property
    def health(self) -> float:
        """Seconds to measure a model's health before it is saved."""
        nothing = torch.zeros(len(self.samples.ids), dtype=torch.bool)
        rows, steps = probes(self.samples.ids, len(self.denoiser.gammas), nothing)
        return self.seconds(lambda: probe_errors(self.denoiser, self.samples, rows, steps))

    @cached_property
    def saving(self) -> tuple[float, int]:
        """Seconds to save a model, and its size in bytes."""
        with tempfile.TemporaryDirectory() as folder:
            spec, files = self.experiment.model_spec(BASE), []
            took = self.seconds(lambda: files.extend(save_denoiser(folder, self.denoiser, spec)))
            return took, sum(Path(file).stat().st_size for file in files)

    def training(self) -> Speed:
        per_step = FORWARD_AND_BACKWARD * self.config.training.batch_size
        return Speed(self.start + self.health + self.saving[0], self.trained[1] / per_step)

    def unlearning(self) -> Speed:
        """Timed with ReTrack and random neighbors; other operators are assumed to run at the same speed."""
        operator, forget = self.experiment.operators[GUDA], self.forget
        settings = self.config.unlearn.for_group().model_copy(update={"steps": UNLEARNING_STEPS, "warmup_steps": 0})
        retained = torch.nonzero(~forget).flatten()
        neighbors = retained[torch.randint(len(retained), (int(forget.sum()), settings.n_neighbors))]
        images = self.samples.images
        took = self.seconds(lambda: unlearn(self.denoiser, images, forget, neighbors, settings, self.execution))
        start = self.start + 2 * self.health + self.saving[0]
        return Speed(start, took / operator.evaluations(settings))

    @property
    def forget(self) -> torch.Tensor:
        """Images of a mock group of average size, bool [n]."""
        n = len(self.samples.ids)
        return torch.arange(n) < max(1, n // max(2, len(self.experiment.groups)))

    def sampling(self) -> Speed:
        queries, steps = self.config.queries, min(SAMPLING_STEPS, self.config.queries.sampling_steps)
        ids = [f"speed-{number}" for number in range(BATCH_SIZE)]

        def some() -> None:
            generate(self.denoiser, self.config.noise_schedule, ids, queries.seed, steps, queries.sampler)

        some()
        return Speed(self.start, self.seconds(some) / (BATCH_SIZE * steps))

    def scoring(self) -> Speed:
        steps, batch_size = np.array(self.experiment.elbo_settings.steps), self.config.execution.batch_size
        denoiser = copy(self.denoiser)
        denoiser.precision = self.config.elbo.precision
        some = self.few(max(1, 2 * batch_size // len(steps)))

        def scored() -> None:
            kl_terms(denoiser, some.images, some.ids, steps, self.config.elbo.seed, batch_size)

        scored()
        return Speed(self.start, self.seconds(scored) / (len(some.ids) * len(steps)))

    def few(self, count: int) -> TrainingSet:
        return TrainingSet(self.samples.images[:count], self.samples.ids[:count])

    def features_of(self, samples: TrainingSet) -> torch.Tensor:
        step, batch_size = self.config.attribution.embedding.step, self.config.execution.batch_size
        return denoiser_features(self.denoiser, samples.images, samples.ids, step, 0, batch_size)

    def features(self) -> Speed:
        some = self.few(2 * self.config.execution.batch_size)
        self.features_of(some)
        return Speed(self.start, self.seconds(lambda: self.features_of(some)) / len(some.ids))

    def kernel(self) -> Speed:
        """Widths are fitted once; queries are compared with all training images, so the sample's time is scaled up."""
        spec, queries = kernel_spec(self.experiment, next(iter(self.experiment.buckets))), self.few(QUERIES)
        features = [self.features_of(self.samples), self.features_of(queries)] if spec.features else []
        groups = [self.forget.nonzero().flatten()] * len(self.experiment.groups)
        found: list = []
        fitted = self.seconds(
            lambda: found.extend(fitted_kernels(self.samples, groups, spec.pixels, features, self.device)[0])
        )
        steps, batch_size = np.array(spec.elbo.steps), self.config.execution.batch_size
        took = self.seconds(
            lambda: kernel_terms(self.denoiser, queries, self.samples, found, groups, steps, spec.elbo.seed, batch_size)
        )
        return Speed(self.start + fitted / self.share, took / self.share / (len(queries.ids) * len(steps)))

    def neighbors(self) -> Speed:
        forget = self.forget
        n_neighbors = min(self.config.unlearn.n_neighbors, int((~forget).sum()))
        took = self.seconds(lambda: nearest_retained(self.samples.images, forget, n_neighbors))
        return Speed(self.start, took / int(forget.sum()) / int((~forget).sum()))


def _importing(modules: str) -> float:
    """CPU seconds for a new Python process to import these modules, with warm file caches."""
    alone = "from guda.jobs.diffusers_import import import_networks_alone; import_networks_alone()"
    code = f"import time\n{alone if modules == NETWORK else ''}\nimport {modules}\nprint(time.process_time())"
    folder = Path(__file__).resolve().parents[2]
    call = [sys.executable, "-c", code]
    done = [subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True) for _ in range(2)]
    return float(done[-1].stdout)
