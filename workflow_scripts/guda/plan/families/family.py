"""The interface of families of models: what the experiment needs from any kind of base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from guda.models.network_size import FLOAT
from guda.specs import ModelSpec, RemovalSpec, Spec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FLOAT", "Family", "Network"]


class Network(NamedTuple):
    """Size of a denoising network and of its samples, as far as planning can tell.

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
    """What an experiment needs from its family of models."""

    title: str  # in messages
    conditional: str  # name of the model that can be conditioned on a group

    @property
    def known_of_queries(self) -> pd.DataFrame | None:
        """A row per query with its metadata, if there is any."""
        ...

    @property
    def query_ids(self) -> list[str]:
        """Ids of the generated queries; they do not depend on the number of queries."""
        ...

    @property
    def training_files(self) -> Sequence[str]:
        """Files besides the samples that a model is trained from."""
        ...

    @property
    def pipeline_folder(self) -> str:
        """Where the pipeline is that encodes samples, if any does."""
        ...

    def samples(self, name: str) -> str:
        """The file of the training set, the calibration sample or a bucket, as the networks see it."""
        ...

    def conditional_samples(self, bucket: str) -> str:
        """Name of a bucket's samples for the model that is conditioned on each group."""
        ...

    def samples_digest(self, name: str) -> str:
        """Digest of the spec of these samples."""
        ...

    def trained(self, seed: int, excluded: str | None) -> ModelSpec:
        """Spec of a model trained with a seed, without the images of this digest; None: on everything."""
        ...

    def imported(self, source: str, key: str) -> ModelSpec:
        """Spec of a model imported from a folder or the hub; `key` is the configuration key that names it."""
        ...

    def check_imported(self, source: str, key: str) -> None:
        """Raise ArtifactError for a folder whose model has another architecture or diffusion process."""
        ...

    def prompt_files(self, bucket: str) -> list[str]:
        """The prompt files of the queries to generate, if any; `bucket` may be a rule's wildcard."""
        ...

    def generated(self, bucket: str) -> Spec:
        """Spec of a bucket of queries that the base model generates."""
        ...

    def removal_spec(self, **shared: Any) -> RemovalSpec:
        """Spec of counterfactual removal, from the fields that all families share: all but the queries' generation."""
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
        """Raise ConfigError or ArtifactError if the experiment cannot be run with these models."""
        ...

    def notes(self) -> list[str]:
        """Notes for the user on these models before anything runs, one sentence each."""
        ...
