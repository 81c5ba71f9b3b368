"""The interface of families of models: what the experiment asks of whatever its base model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from guda.specs import ModelSpec, RemovalSpec, Spec

if TYPE_CHECKING:
    import pandas as pd

FLOAT = 4  # bytes


class Network(NamedTuple):
    """Size of a denoising network and of what it sees, as far as can be known when planning.

    `weights` bytes; `operations` and `activations` (bytes) of one sample's forward pass; `shape` [C, H, W] and
    `sample_bytes` of a sample in memory; `features`: numbers that leave its coarsest resolution. `cross_attention`:
    share of its weights that are keys and values of prompts; `passes` for a step of sampling; `encoding`: bytes that
    encoding an image takes.
    """

    weights: float
    operations: float
    activations: float
    shape: tuple[float, float, float]
    sample_bytes: float
    features: float
    cross_attention: float = 1.0
    passes: int = 1
    encoding: float = 0.0


class Family(Protocol):
    """What an experiment asks of its family of models."""

    title: str  # in messages
    conditional: str  # name of the model that can be told an image's group

    @property
    def known_of_queries(self) -> pd.DataFrame | None:
        """A row per query with what is known of it, when anything is."""
        ...

    @property
    def query_ids(self) -> list[str]:
        """Ids of the queries that are generated; an id does not depend on how many there are."""
        ...

    @property
    def training_files(self) -> Sequence[str]:
        """Files beside the samples that a model is made from."""
        ...

    @property
    def pipeline_folder(self) -> str:
        """Where the pipeline is that encodes samples, if any does."""
        ...

    def samples(self, name: str) -> str:
        """The file of the training set, the calibration sample or a bucket, as networks see them."""
        ...

    def conditional_samples(self, bucket: str) -> str:
        """Name of a bucket's images as they are where that model is told each group."""
        ...

    def samples_digest(self, name: str) -> str:
        """Digest of the spec of these samples."""
        ...

    def trained(self, seed: int, excluded: str | None) -> ModelSpec:
        """Spec of a model made from a seed without what has this digest; None: on everything."""
        ...

    def imported(self, source: str, key: str) -> ModelSpec:
        """Spec of a model that comes from a folder or the hub; `key` of the configuration says where from."""
        ...

    def check_imported(self, source: str, key: str) -> None:
        """Raise ArtifactError for a folder whose model is of another network or process."""
        ...

    def prompt_files(self, bucket: str) -> list[str]:
        """The prompts of the queries to generate, if they have any; `bucket` may be a rule's wildcard."""
        ...

    def generated(self, bucket: str) -> Spec:
        """Spec of a bucket of queries that the base model generates."""
        ...

    def removal_spec(self, **shared: Any) -> RemovalSpec:
        """Spec of counterfactual removal, from what those of all families have: all but how queries come again."""
        ...

    def model_files(self, model: str) -> dict[str, str]:
        """The files of a model's folder, by their names in rules."""
        ...

    def adapted_files(self, model: str) -> list[str]:
        """The files of the base model, where `model` holds adapters of it alone."""
        ...

    def network(self) -> Network:
        """How large the denoising network is."""
        ...

    def check(self) -> None:
        """Raise ConfigError or ArtifactError where the experiment cannot be run with these models."""
        ...

    def notes(self) -> list[str]:
        """What the user should know of these models before anything runs, a sentence each."""
        ...
