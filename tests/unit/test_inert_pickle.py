"""Pickles are read as data: arrays of bytes come back, nothing that a pickle names is ever called."""

import builtins
import collections
import copyreg
import datetime
import functools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from guda.core.errors import DataError
from guda.data.datasets.inert_pickle import ADMITTED, read_mapping

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)


class Planted:
    """Unpickling this makes a file."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def written(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def named(module, name, *arguments):
    """A pickle of {"data": module.name(*arguments)}, written by hand."""
    called = b"c" + f"{module}\n{name}\n".encode() + pickle.dumps(arguments, protocol=0)[:-1] + b"R"
    return b"}(\x8c\x04data" + called + b"u."


# --- what comes back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("array", [PIXELS, PIXELS.T, np.asfortranarray(PIXELS), PIXELS[0], PIXELS[:0]])
def test_arrays_and_plain_values_come_back(tmp_path, protocol, array):
    values = {"data": array, "labels": [3, 0, 1], "names": ["a", b"b"], "n": 7, "nested": {"x": (1, None)}}
    found = read_mapping(written(tmp_path, pickle.dumps(values, protocol=protocol)))
    assert found.keys() == values.keys()
    assert np.array_equal(found["data"], array)
    assert found["data"].dtype == np.uint8
    assert {key: found[key] for key in found if key != "data"} == {key: values[key] for key in values if key != "data"}


def test_the_old_and_the_new_name_of_numpys_function_are_known(tmp_path):
    content = pickle.dumps({"data": PIXELS}, protocol=3)
    assert b"cnumpy._core.multiarray\n_reconstruct\n" in content
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(read_mapping(written(tmp_path, old))["data"], PIXELS)


def test_keys_of_python_2_become_text_and_values_stay_bytes(tmp_path):
    # {'labels': ['a']} as Python 2 wrote it, protocol 2: its str is SHORT_BINSTRING.
    found = read_mapping(written(tmp_path, b"\x80\x02}U\x06labels]U\x01aas."))
    assert found == {"labels": [b"a"]}


# --- what is refused ---------------------------------------------------------------------------------

CALLS = [
    (os.mkdir, "planted"),
    (os.system, "touch planted"),
    (builtins.eval, "__import__('os').mkdir('planted')"),
    (builtins.exec, "import os; os.mkdir('planted')"),
    (builtins.getattr, os.mkdir, "__call__"),
    (functools.partial, os.mkdir, "planted"),
    (np.load, "planted"),
    (np.dtype, "O"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0].__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_planted_call_is_never_made(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, pickle.dumps({"data": Planted(*call)}, protocol=protocol))
    with pytest.raises(DataError, match=rf"^{path}: "):
        read_mapping(path)
    assert not Path("planted").exists()


def test_the_planted_call_would_have_worked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps({"data": Planted(os.mkdir, "planted")}))
    assert Path("planted").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Planted(os.mkdir, "x"), rf"{os.mkdir.__module__}\.mkdir"),
        (Planted(eval, "1"), r"builtins\.eval"),
        (datetime.date(2020, 1, 1), r"datetime\.date"),
        (collections.OrderedDict(), r"collections\.OrderedDict"),
        (np.float64(1), r"numpy\._core\.multiarray\.scalar"),
        (object(), r"\w+\.(object|_reconstructor)"),
    ],
)
def test_what_is_no_data_is_refused_by_name(tmp_path, value, name):
    path = written(tmp_path, {"data": value})
    with pytest.raises(DataError, match=rf"^{path}: a pickle that names {name}, which is not data; nothing was called"):
        read_mapping(path)


def test_names_are_those_in_the_pickle_whatever_python_renames_them_to(tmp_path):
    with pytest.raises(DataError, match=r"names __builtin__\.eval, which"):
        read_mapping(written(tmp_path, named("__builtin__", "eval", "1")))


def test_a_registered_extension_is_refused_as_well(tmp_path):
    copyreg.add_extension("os", "mkdir", 77)
    try:
        with pytest.raises(DataError, match=r"names os\.mkdir, which is not data"):
            read_mapping(written(tmp_path, b"\x80\x02}\x8c\x04data\x82\x4ds."))
    finally:
        copyreg.remove_extension("os", "mkdir", 77)


@pytest.mark.parametrize("name", sorted(ADMITTED))
def test_what_is_admitted_is_not_called_either(tmp_path, name):
    """numpy's own would raise for these arguments, or make an array of objects."""
    module, function = name.rsplit(".", 1)
    with pytest.raises(DataError, match="holds an array that is damaged or not of unsigned bytes; download it again"):
        read_mapping(written(tmp_path, named(module, function, "no", "such", "arguments")))


@pytest.mark.parametrize(
    "array",
    [PIXELS.astype(np.int64), PIXELS.astype(float), PIXELS > 9, np.array(["a"]), np.array([{}], dtype=object)],
    ids=lambda array: str(array.dtype),
)
def test_arrays_of_other_types_are_refused(tmp_path, array):
    path = written(tmp_path, pickle.dumps({"data": array}, protocol=4))
    with pytest.raises(DataError, match=rf"^{path}: holds an array that is damaged or not of unsigned bytes"):
        read_mapping(path)


@pytest.mark.parametrize("shape", [(4, 7), (2**62, 2**62), (24.0,), ("a",)])
def test_an_array_whose_shape_is_not_that_of_its_bytes_is_refused(tmp_path, shape):
    """numpy would be told to trust it."""

    class Array:
        def __reduce__(self):
            reconstruct, arguments, (version, _, kind, order, content) = PIXELS.__reduce__()
            return reconstruct, arguments, (version, shape, kind, order, content)

    path = written(tmp_path, pickle.dumps({"data": Array()}, protocol=4))
    with pytest.raises(DataError, match=rf"^{path}: holds an array that is damaged or not of unsigned bytes"):
        read_mapping(path)


def test_no_prefix_of_a_pickle_passes(tmp_path):
    content = pickle.dumps({"data": PIXELS, "labels": [1, 2]}, protocol=4)
    for length in range(len(content)):
        path = written(tmp_path, content[:length])
        with pytest.raises(DataError, match=rf"^{path}: "):
            read_mapping(path)


def test_bytes_of_chance_are_refused_or_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, random = pickle.dumps({"data": PIXELS, "labels": [1, 2]}, protocol=4), np.random.default_rng(1)
    for _ in range(1000):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(0, 256)
        try:
            read_mapping(written(tmp_path, bytes(damaged)))
        except DataError as error:
            assert "batch: " in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_what_is_no_mapping_and_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="batch: expected a mapping, found list"):
        read_mapping(written(tmp_path, [1]))
    with pytest.raises(DataError, match=r"absent: cannot be read \(No such file"):
        read_mapping(tmp_path / "absent")
