"""Files are whole or absent, know what they are, and are checked when read."""

import json
import os
import pickle
import re
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guda import __version__
from guda.core import artifacts
from guda.core.artifacts import (
    CURE,
    Stream,
    check_spec,
    load_tensors,
    pack_ids,
    read_json,
    replacing,
    save_tensors,
    sha256_file,
    unpack_ids,
    write_csv,
    write_json,
    write_png,
    write_text,
)
from guda.core.errors import ArtifactError
from guda.methods.random.plan import RandomSpec

SPEC = RandomSpec(groups=["a", "b"], buckets={}, seed=0)
OTHER = RandomSpec(groups=["a", "b"], buckets={}, seed=1)
TENSORS = {
    "kl": torch.tensor([[0.5, -1.5], [2.0, -0.0]], dtype=torch.float32),
    "rows": torch.tensor([3, 1, 2], dtype=torch.int64),
    "weights": torch.tensor([1 / 3], dtype=torch.float64),
    "images": torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2),
}


class Planted:
    """Unpickling this makes the folder `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact.safetensors"
    save_tensors(path, TENSORS, SPEC, model_sha256="ab12")
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flipped(data, position, bit=0):
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def header_length(data):
    return 8 + struct.unpack("<Q", data[:8])[0]


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and bytes_of(a[k]) == bytes_of(b[k]) for k in a)


def bytes_of(tensor):
    return tuple(tensor.shape), tensor.contiguous().numpy().tobytes()


# --- whole or absent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_an_interrupted_first_writer_leaves_no_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.csv"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_the_old_content_stands_until_the_new_is_complete(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_a_writer_that_fails_inside_the_library_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    with pytest.raises((TypeError, ValueError)):
        write_png(tmp_path / "a.png", np.zeros((1, 2, 2), dtype=complex))
    assert names(tmp_path) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


# --- tensors with provenance -------------------------------------------------------------------------


def test_tensors_come_back_with_their_types_and_metadata(artifact):
    tensors, metadata = load_tensors(artifact, SPEC.digest())
    assert same(tensors, TENSORS)
    assert metadata["spec"] == SPEC.canonical()
    assert metadata["guda_version"] == __version__
    assert metadata["model_sha256"] == "ab12"
    assert metadata["checksum"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_not_written(tmp_path, value):
    parts = [np.zeros(3, np.float32), np.array([1, value], np.float32)]
    path = tmp_path / "elbo" / "guda" / "amber" / "x.safetensors"
    with pytest.raises(FloatingPointError, match=rf"{re.escape(str(path))} was not written: 1 of 2 values of 'kl'"):
        save_tensors(path, TENSORS | {"kl": Stream("float32", (5,), parts)}, SPEC)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused_where_they_are_read(tmp_path, monkeypatch, kind):
    """As an older version wrote them, which did not look."""
    path = tmp_path / "elbo" / "guda" / "amber" / "x.safetensors"
    with monkeypatch.context() as older:
        older.setattr(artifacts, "not_finite", lambda array, name: "")
        save_tensors(path, {"kl": np.array([[1, np.nan], [np.inf, 2]], kind), "steps": np.arange(2)}, SPEC)
    message = (
        rf"{re.escape(str(path))}: 2 of 4 values of 'kl' are not finite.*lower its learning rate.*delete this file"
    )
    with pytest.raises(ArtifactError, match=message):
        load_tensors(path, SPEC.digest())


def test_other_programs_can_open_the_file(artifact):
    from safetensors.torch import load_file

    assert same(load_file(artifact), TENSORS)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for index in range(12):
        save_tensors(tmp_path / str(index), TENSORS, SPEC, model_sha256="ab12", query_ids="[]", parent_sha256="cd")
    assert len({sha256_file(tmp_path / str(index)) for index in range(12)}) == 1


def test_the_bytes_are_those_of_the_library_with_its_header_sorted(artifact, tmp_path):
    from safetensors.torch import save_file

    _, metadata = load_tensors(artifact)
    save_file(TENSORS, tmp_path / "library", metadata=metadata)
    written, library = artifact.read_bytes(), (tmp_path / "library").read_bytes()
    start = header_length(library)
    assert written[:8] + written[start:] == library[:8] + library[start:]
    header = json.dumps(json.loads(library[8:start]), sort_keys=True, separators=(",", ":"))
    assert written[8:start].decode() == header.ljust(start - 8)


def test_a_stream_gives_the_bytes_of_the_array(artifact, tmp_path):
    for parts in ([TENSORS["images"][:1], TENSORS["images"][1:]], TENSORS["images"].reshape(8, 1)):
        stream = Stream("uint8", (2, 1, 2, 2), [part.numpy() for part in parts])
        save_tensors(tmp_path / "streamed", TENSORS | {"images": stream}, SPEC, model_sha256="ab12")
        assert (tmp_path / "streamed").read_bytes() == artifact.read_bytes()


def test_a_stream_that_ends_early_or_late_leaves_no_file(tmp_path):
    for n in (1, 3):
        with pytest.raises(ValueError, match=f"{n} bytes of a tensor of 2"):
            save_tensors(tmp_path / "a", {"x": Stream("uint8", (2,), [np.zeros(n, np.uint8)])}, SPEC)
    assert names(tmp_path) == []


def test_a_tensor_that_is_changed_leaves_the_file_alone(artifact):
    load_tensors(artifact)[0]["rows"][0] = 9
    assert same(load_tensors(artifact, SPEC.digest())[0], TENSORS)


def test_a_type_that_is_not_written_here_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    assert "has the unsupported type BF16" in refused(tmp_path / "a.safetensors")


def test_views_are_written_as_what_they_show(tmp_path):
    view = torch.arange(12).reshape(3, 4).T[1:3]
    save_tensors(tmp_path / "a", {"x": view}, SPEC)
    tensors, _ = load_tensors(tmp_path / "a")
    assert torch.equal(tensors["x"], view)


def test_empty_tensors_are_kept(tmp_path):
    save_tensors(tmp_path / "a", {"x": torch.zeros(0, 3)}, SPEC)
    assert load_tensors(tmp_path / "a")[0]["x"].shape == (0, 3)


def refused(path, expected=None):
    """The message with which a file is refused: it names the file and says what to do."""
    with pytest.raises(ArtifactError) as caught:
        load_tensors(path, expected)
    message = str(caught.value)
    assert str(path) in message
    assert CURE in message or "Run snakemake" in message
    return message


def test_a_missing_file_is_named(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.safetensors")


def test_a_file_of_another_spec_is_refused(artifact):
    message = refused(artifact, OTHER.digest())
    assert SPEC.digest() in message
    assert OTHER.digest() in message


def test_a_file_without_a_spec_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors")


def test_a_file_truncated_anywhere_is_refused(artifact):
    data = artifact.read_bytes()
    for length in {*range(0, len(data), 7), len(data) - 1}:
        artifact.write_bytes(data[:length])
        refused(artifact, SPEC.digest())


def test_a_file_with_something_appended_is_refused(artifact):
    artifact.write_bytes(artifact.read_bytes() + b"\0")
    refused(artifact, SPEC.digest())


def test_every_bit_flipped_in_the_data_is_noticed(artifact):
    data = artifact.read_bytes()
    for position in range(header_length(data), len(data)):
        for bit in (0, 7):
            artifact.write_bytes(flipped(data, position, bit))
            assert "checksum" in refused(artifact, SPEC.digest())


def test_a_bit_flipped_in_the_header_is_noticed(artifact):
    """Each byte in turn; a flip that changes nothing of what is read is no damage."""
    data, unnoticed = artifact.read_bytes(), []
    original = load_tensors(artifact)
    for position in range(header_length(data)):
        artifact.write_bytes(flipped(data, position))
        try:
            tensors, metadata = load_tensors(artifact, SPEC.digest())
        except ArtifactError as error:
            assert str(artifact) in str(error)
        else:
            if not (same(tensors, original[0]) and metadata == original[1]):
                unnoticed.append({k: v for k, v in metadata.items() if original[1].get(k) != v})
    assert unnoticed == []


@pytest.mark.parametrize("dump", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_in_its_place_is_refused_and_never_unpickled(tmp_path, dump):
    planted, path = tmp_path / "planted", tmp_path / "artifact.safetensors"
    dump({"x": Planted(str(planted))}, path)
    refused(path)
    assert not planted.exists()


def test_the_planted_pickle_would_have_worked(tmp_path):
    planted = tmp_path / "planted"
    pickle.loads(pickle.dumps(Planted(str(planted))))
    assert planted.exists()


# --- JSON, CSV, ids, PNG -----------------------------------------------------------------------------


def test_json_comes_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": "é"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe"])
def test_damaged_json_is_refused_with_file_and_cure(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert CURE in str(caught.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"absent\.json.*Run snakemake"):
        read_json(tmp_path / "absent.json")


def test_check_spec_compares_digests_and_accepts_any_when_none_is_expected():
    check_spec("f", SPEC.canonical(), SPEC.digest())
    check_spec("f", None, None)
    for found in (None, OTHER.canonical(), json.dumps(json.loads(SPEC.canonical()))):
        with pytest.raises(ArtifactError, match=r"^f: "):
            check_spec("f", found, SPEC.digest())


def test_csv_keeps_every_digit(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"x": [0.1 + 0.2, 1 / 3, 1e-300]})
    write_csv(tmp_path / "a.csv", frame)
    header, *rows = (tmp_path / "a.csv").read_text().split()
    assert (header, [float(row) for row in rows]) == ("x", list(frame["x"]))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1), min_size=1))
def test_ids_come_back_from_a_tensor(ids):
    assert unpack_ids(pack_ids(ids)) == ids


def test_ids_are_utf8_separated_by_newlines():
    assert bytes(pack_ids(["é", "query-0"]).tolist()) == "é\nquery-0".encode()
    assert pack_ids(["x"]).dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == {1: "L", 3: "RGB"}[channels]
        pixels = np.asarray(picture)
    assert np.array_equal(pixels.reshape(5, 7, channels).transpose(2, 0, 1), image)
