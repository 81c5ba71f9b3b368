"""Weights that others saved: read in float32 and given to networks, whatever files and types they were saved in."""

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


# For whatever transformers reads from a folder itself.
APART = {"local_files_only": True, "trust_remote_code": False}


def read_weights(checkpoint: Checkpoint, key: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a checkpoint with their current names, on the CPU, one by one; all that are floats in float32.

    `key` names the setting in errors. Raises ArtifactError for what `read_headers` refuses, and by name for a tensor
    with values that are not finite, or beyond what float32 holds.
    """
    import safetensors

    read_headers(checkpoint, key)
    for file in checkpoint.weights:
        with safetensors.safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
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
    """Give a network of diffusers the weights of a checkpoint; see `fitting_weights`."""
    network.load_state_dict(dict(fitting_weights(network, checkpoint, key)))


def fitting_weights(network: torch.nn.Module, checkpoint: Checkpoint, key: str) -> Iterator[tuple[str, Tensor]]:
    """The weights of a checkpoint, one by one, for a network of diffusers, whose own are not looked at.

    `key` names the setting in errors. Raises ArtifactError for files that do not hold them, and them alone.
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
    """A network of transformers with the weights of a checkpoint, in evaluation mode, and the tensors that it lacks.

    What is lacking has random values. `kind` is its class. transformers itself sees no file: it would follow others
    that those name. `key` names the setting in errors. Raises ArtifactError for weights that are not of such a network.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # of reading weights, which a log would keep
    logging.set_verbosity_error()  # what is lacking is said by whoever asks
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
    """What `make` makes of the settings in a folder. Raises ArtifactError, in the library's words, where it cannot."""
    try:
        return make()
    except Exception as error:  # settings of others fail anywhere in a network's own code
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{key}: {folder} cannot be read as a {kind} ({reason})") from None
