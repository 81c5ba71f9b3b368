"""Unconditional networks trained from scratch on pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from guda.core.paths import BASE, CONDITIONAL
from guda.data.queries import known_of_queries
from guda.models.imported import NETWORK, check_is_folder, check_model, source_digest
from guda.models.network_size import activations, operations, parameters
from guda.plan.families.family import FLOAT, Network
from guda.specs import ImportedModelSpec, QueriesSpec, RemovalSpec, TrainSpec

if TYPE_CHECKING:
    import pandas as pd

    from guda.plan.experiment import Experiment


class FromScratch:
    """Models are `UNet2DModel`s that see the images themselves; see `Family`."""

    title = "models without prompts"
    conditional = CONDITIONAL
    training_files: tuple[str, ...] = ()
    pipeline_folder = ""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment

    @property
    def known_of_queries(self) -> pd.DataFrame | None:
        given = self.experiment.given_queries
        known = None if given is None else known_of_queries(given)
        return None if known is None or len(known.columns) == 1 else known

    @property
    def query_ids(self) -> list[str]:
        return [f"query-{index:06d}" for index in range(self.experiment.config.queries.count)]

    def samples(self, name: str) -> str:
        return self.experiment.pixels(name)

    def conditional_samples(self, bucket: str) -> str:
        return bucket

    def samples_digest(self, name: str) -> str:
        return self.experiment.pixels_digest(name)

    def trained(self, seed: int, excluded: str | None) -> TrainSpec:
        config = self.experiment.config
        return TrainSpec(
            images=self.experiment.images_digest,
            excluded=excluded,
            unet=config.unet,
            noise_schedule=config.noise_schedule,
            training=config.training.model_copy(update={"seed": seed}),
        )

    def imported(self, source: str, key: str) -> ImportedModelSpec:
        config = self.experiment.config
        return ImportedModelSpec(
            content=source_digest(source, key),
            shape=list(self.experiment.dataset.image_shape),
            unet=config.unet,
            noise_schedule=config.noise_schedule,
        )

    def check_imported(self, source: str, key: str) -> None:
        config = self.experiment.config
        check_is_folder(source, key, NETWORK, "model")
        check_model(Path(source), config.unet, config.noise_schedule, self.experiment.dataset.image_shape, key, config)

    def prompt_files(self, bucket: str) -> list[str]:
        return []

    def generated(self, bucket: str) -> QueriesSpec:
        queries = self.experiment.config.queries
        return QueriesSpec(
            base=self.experiment.model_digest(BASE),
            noise_schedule=self.experiment.config.noise_schedule,
            seed=queries.seed,
            sampler=queries.sampler,
            sampling_steps=queries.sampling_steps,
            ids=self.experiment.buckets[bucket],
        )

    def removal_spec(self, **shared: Any) -> RemovalSpec:
        generation = None
        if self.experiment.query_source == "generated":
            queries = self.generated(next(iter(self.experiment.buckets)))
            generation = queries.model_copy(update={"base": "", "ids": []})
        return RemovalSpec(**shared, generation=generation)

    def model_files(self, model: str) -> dict[str, str]:
        paths = self.experiment.paths
        return {"weights": paths.model_weights(model), "config": paths.model_config(model)}

    def adapted_files(self, model: str) -> list[str]:
        return []

    def network(self) -> Network:
        unet, (channels, height, width) = self.experiment.config.unet, self.experiment.dataset.image_shape
        pixels, coarser = height * width, 4 ** (len(unet.block_out_channels) - 1)
        return Network(
            weights=FLOAT * parameters(unet),
            operations=operations(unet, pixels),
            activations=activations(unet, pixels),
            shape=(channels, height, width),
            sample_bytes=channels * pixels,
            features=unet.block_out_channels[-1] * pixels / coarser,
        )

    def check(self) -> None:
        _, height, width = self.experiment.dataset.image_shape
        self.experiment.config.unet.check_size(height, width)

    def notes(self) -> list[str]:
        return []
