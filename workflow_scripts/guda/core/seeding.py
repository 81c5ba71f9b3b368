"""Randomness that depends on seeds and names alone: not on batches, order, device, or other samples."""

from __future__ import annotations

import hashlib
import threading

import numpy as np


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from a sequence of names and numbers, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def gaussian(seed: int, sample_id: str, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise e of one sample at one diffusion step, float32 of `shape`.

    These are the method's common random numbers: every model sees the same e for the same (seed, sample, step).
    """
    return _philox.of(derive_seed("noise", seed, sample_id, step)).standard_normal(shape, dtype=np.float32)


class _Philox(threading.local):
    """Equivalent to np.random.Philox(key=...) in a quarter of the time: one generator per thread, reset to a key."""

    def __init__(self) -> None:
        self._bits = np.random.Philox(key=0)
        self._start = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def of(self, key: int) -> np.random.Generator:
        """The generator reset to the start of this key, below 2^64; valid until the next call."""
        self._start["state"]["key"][0] = key
        self._bits.state = self._start
        return self._generator


_philox = _Philox()


def rademacher(seed: int, sample_id: str, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """`count` arrays of random signs for one sample, float32 [count, *shape]; a larger count only adds to them."""
    generators = (np.random.Philox(key=derive_seed("signs", seed, sample_id, index)) for index in range(count))
    return np.stack([2 * np.random.Generator(each).integers(2, size=shape) - 1 for each in generators]).astype("f4")


def chosen(ids: list[str], count: int, *parts: str | int) -> list[int]:
    """Rows of `count` of the ids (or all, if fewer), ascending: those with the smallest hash of (parts, id).

    A new id thus replaces at most one.
    """
    by_hash = sorted(range(len(ids)), key=lambda row: derive_seed(*parts, ids[row]))
    return sorted(by_hash[:count])


def uniform(*parts: str | int) -> float:
    """A pseudorandom number in [0, 1) derived from these names."""
    return derive_seed(*parts) / 2**63
