"""A device beside the CPU where there is none: its tensors are computed on the CPU, but refuse to mix with the CPU's.

It finds without a GPU what only a GPU would show: tensors left on the wrong device, and how often the CPU waits for
values. Kernels, precision, memory and speed are not a GPU's.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

# A type of device that torch knows, that needs no library, and whose gradients the calling thread computes.
PRETENDED = torch.device("lazy", 0)
aten = torch.ops.aten
MOVE, COPY = aten._to_copy.default, aten.copy_.default
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}  # by indices on either device
# The CPU waits, since Python or the shape of the result depends on values.
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default}
# Where torch asks which devices have fused and grouped operations.
SUPPORTED = {
    "torch.utils._foreach_utils": "_get_foreach_kernels_supported_devices",
    "torch.optim.optimizer": "_get_fused_kernels_supported_devices",
}


class Pretended(torch.Tensor):
    """A tensor on the pretended device, with its values in a tensor on the CPU."""

    @staticmethod
    def __new__(cls, values: torch.Tensor):
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        return cls._make_wrapper_subclass(
            cls, values.shape, **layout, device=PRETENDED, requires_grad=values.requires_grad
        )

    def __init__(self, values: torch.Tensor):
        self.on_cpu = values

    def tolist(self):
        return self.cpu().tolist()

    def __getitem__(self, key):  # torch would make the index of a list on this device
        return super().__getitem__(torch.tensor(key) if isinstance(key, list) else key)

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {}, Counter())


class _Dispatch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {}, self.waits)


def computed(operation, args, kwargs, waits):
    """The operation's result, computed on the CPU, on the device where it belongs; RuntimeError if that is not one."""
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    there = any(isinstance(each, Pretended) for each in tensors)
    here = any(not isinstance(each, Pretended) and each.dim() > 0 for each in tensors)
    indexed = operation in INDEXED and isinstance(args[0], Pretended)
    if there and here and operation != COPY and not indexed:
        raise RuntimeError(f"{operation}: expected all tensors to be on one device")
    asked = kwargs.get("device")
    result_there = there if asked is None else torch.device(asked) == PRETENDED
    if operation == COPY:
        result_there = isinstance(args[0], Pretended)
    masked = operation in INDEXED and any(each is not None and each.dtype == torch.bool for each in args[1])
    if there and (operation in WAITS or masked or not result_there):
        waits[operation.name()] += 1
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map_only(Pretended, lambda each: each.on_cpu, (args, kwargs))
    result = operation(*plain_args, **plain_kwargs)
    if not result_there:
        return result
    result = tree_map_only(torch.Tensor, Pretended, result)
    return return_and_correct_aliasing(operation, args, kwargs, result) if there and operation != MOVE else result


@contextlib.contextmanager
def pretended_device() -> Iterator[Counter[str]]:
    """Inside, PRETENDED can be used. Gives how often the CPU waited for it, by operation."""
    with contextlib.ExitStack() as stack:
        for name, function in SUPPORTED.items():
            devices = [*getattr(import_module(name), function)(), PRETENDED.type]
            stack.enter_context(patch.object(import_module(name), function, lambda devices=devices: devices))
        yield stack.enter_context(_Dispatch()).waits
