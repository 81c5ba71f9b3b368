"""What is held in memory does not grow with the training images: 64 MB of them go through in a fraction of that.

Measured is what a process allocates by itself. Mapped files come on top, which the system takes back when it runs
short.
"""

import gc
import struct
import tracemalloc

import numpy as np
import pytest

from guda import config
from guda.core.artifacts import load_tensors, pack_ids, save_tensors
from guda.data.datasets import load_dataset
from guda.methods.random.plan import RandomSpec
from guda.methods.similarity.compute import similarities

SPEC = RandomSpec(groups=[], buckets={}, seed=0)
MB = 2**20
N, SIDE = 1024, 256  # 64 MiB of gray images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An IDX pair of 64 MiB."""
    folder = tmp_path_factory.mktemp("idx")
    header = struct.pack(">4B3I", 0, 0, 8, 3, N, SIDE, SIDE)
    (folder / "train-images-idx3-ubyte").write_bytes(header + np.arange(N, dtype=np.uint32).tobytes() * (16 * 1024))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, N) + bytes(N))
    return folder


@pytest.fixture(scope="module")
def artifact(folder, tmp_path_factory):
    return write(folder, tmp_path_factory.mktemp("data") / "images.safetensors")


def write(folder, path, **settings):
    dataset = load_dataset(config.Data(dataset="idx", folder=str(folder), group_by="label", **settings))
    save_tensors(path, {"images": dataset.stream(), "ids": pack_ids(list(dataset.table["id"]))}, SPEC)
    return path


def peak(work, *arguments, **settings):
    """The most bytes that numpy and Python had allocated at any time, beyond what they had before."""
    gc.collect()
    tracemalloc.start()
    try:
        work(*arguments, **settings)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_measure_sees_an_array():
    assert 64 * MB <= peak(np.zeros, 64 * MB, dtype=np.uint8) < 65 * MB


@pytest.mark.parametrize("settings", [{}, {"channels": 3, "size": (32, 32)}], ids=["as they are", "converted"])
def test_a_dataset_is_written_image_by_image(folder, tmp_path, settings):
    assert peak(write, folder, tmp_path / "images", **settings) < 4 * MB


@pytest.mark.parametrize("framework", ["np", "pt"])
def test_tensors_are_read_mapped(artifact, framework):
    load_tensors(artifact, framework=framework)  # what is imported on the way does not count
    assert peak(load_tensors, artifact, framework=framework) < 1 * MB


def test_similarities_are_computed_in_blocks(artifact):
    """As float64, 65,536 images of 1024 pixels take 512 MiB: one copy, and there would be four."""
    images = load_tensors(artifact, framework="np")[0]["images"].reshape(-1, 1, 32, 32)
    assert peak(lambda: list(similarities(images[:2], images, "euclidean"))) < 256 * MB
