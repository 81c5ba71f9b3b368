"""Weights saved elsewhere: read in float32 and loaded into networks, whatever their files and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guda.core.errors import ArtifactError
from guda.models.checkpoints.files import Checkpoint, read_headers

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


# Arguments for everything that transformers reads from a folder itself.
APART = {"local_files_only": True, "trust_remote_code": False}


def read_weights(checkpoint: Checkpoint, key: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a checkpoint with their current names, on the CPU, one by one; floats in float32.

    `key` names the setting in errors. Raises ArtifactError for what `read_headers` rejects, and by name for a tensor
    with values that are not finite or exceed float32's range.
    """
    import safetensors

    read_headers(checkpoint, key)
    for file in checkpoint.weights:
        with safetensors.safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                yield (
                    checkpoint.current_name(name),
                    _in_float32(opened.get_tensor(name), f"{key}: {file}: tensor {name!r}"),
                )


def _in_float32(tensor: Tensor, where: str) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise ArtifactError(f"{where} holds values that are not finite")
    narrowed = tensor.float()
    if not torch.isfinite(narrowed).all():
        raise ArtifactError(f"{where} holds values beyond the range of float32, in which networks compute")
    return narrowed


def take_weights(network: torch.nn.Module, checkpoint: Checkpoint, key: str) -> None:
    """Load the weights of a checkpoint into a diffusers network; see `fitting_weights`."""
    network.load_state_dict(dict(fitting_weights(network, checkpoint, key)))


def fitting_weights(network: torch.nn.Module, checkpoint: Checkpoint, key: str) -> Iterator[tuple[str, Tensor]]:
    """The weights of a checkpoint, one by one, for a diffusers network, whose current weights are ignored.

    `key` names the setting in errors. Raises ArtifactError if the files hold other tensors than the network's.
    """
    headers, expected, file = read_headers(checkpoint, key), network.state_dict(), checkpoint.named
    for name in sorted(expected.keys() ^ headers.keys()):
        raise ArtifactError(f"{key}: {file} {'lacks' if name in expected else 'has an unknown'} tensor {name!r}")
    for name, header in headers.items():
        if header.shape != list(expected[name].shape):
            found, wanted = header.shape, list(expected[name].shape)
            raise ArtifactError(f"{key}: {header.file}: tensor {name!r} has shape {found}, expected {wanted}")
    yield from read_weights(checkpoint, key)


def transformers_model(
    kind: type[PreTrainedModel], settings: PretrainedConfig, checkpoint: Checkpoint, key: str
) -> tuple[PreTrainedModel, list[str]]:
    """A transformers network with the weights of a checkpoint, in evaluation mode, and the names of missing tensors.

    Missing tensors have random values. `kind` is its class. transformers itself reads no files, since it would follow
    others that they name. `key` names the setting in errors. Raises ArtifactError for weights of another network.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # for reading weights, which would fill logs
    logging.set_verbosity_error()  # callers report missing tensors
    weights = dict(read_weights(checkpoint, key))
    model, report = built(
        lambda: kind.from_pretrained(
            None, config=settings, state_dict=weights, output_loading_info=True, dtype=torch.float32
        ),
        kind.__name__,
        checkpoint.config.parent,
        key,
    )
    own = model.state_dict()
    for name, tensor in weights.items():
        if name in own and own[name].is_floating_point() and not tensor.is_floating_point():
            raise ArtifactError(f"{key}: {checkpoint.named}: tensor {name!r} holds whole numbers in place of weights")
    return model.eval(), sorted(report["missing_keys"])


def built(make: Callable[[], Any], kind: str, folder: Path, key: str) -> Any:
    """The result of `make` on a folder's settings. Raises ArtifactError, with the library's message, if it fails."""
    try:
        return make()
    except Exception as error:  # unknown settings may fail anywhere in a network's code
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{key}: {folder} cannot be read as a {kind} ({reason})") from None
