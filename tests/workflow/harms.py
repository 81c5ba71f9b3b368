"""Kinds of harm that can come to a file: functions of the file, and of a like file to swap it with."""

import json
import os
import pickle
from pathlib import Path

import torch

from guda import specs
from guda.core.artifacts import load_tensors, read_csv, save_tensors, write_csv, write_json
from guda.core.paths import record_of
from guda.core.records import read_record, write_record
from guda.data.groups import write_members

# Of each stage's spec, the setting in which another configuration differs.
SETTINGS = {
    "images": ["content"],
    "table": ["content"],
    "group": ["dataset"],
    "neighbors": ["n_neighbors"],
    "train": ["training", "seed"],
    "unlearn": ["settings", "seed"],
    "queries": ["seed"],
    "calibration": ["seed"],
    "elbo": ["elbo", "seed"],
    "counterfactual": ["elbo", "seed"],
    "rankings": ["queries", "bucket-0000"],
}


class Planted:
    """Unpickling this makes the folder `path`."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def planted_at(file):
    return file.with_name("unpickled")


def half(file, other):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def last_byte_lost(file, other):
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file, other):
    file.write_bytes(b"")


def flip(where, bit=0):
    """Flip a bit at a place in a file, given as a function of its bytes."""

    def harm(file, other):
        data = bytearray(file.read_bytes())
        data[where(data)] ^= 1 << bit
        file.write_bytes(data)

    return harm


def swapped(file, other):
    """Each in the other's place."""
    assert file.read_bytes() != other.read_bytes()
    aside = file.with_name("aside")
    file.rename(aside)
    other.rename(file)
    aside.rename(other)


def pickled(file, other):
    file.write_bytes(pickle.dumps({"x": Planted(planted_at(file))}))


def pickled_by_torch(file, other):
    torch.save({"x": Planted(planted_at(file))}, file)


def another_shape(file, other):
    write_json(file, [json.loads(file.read_text())])


def another_configuration(file, other):
    """What the library's own writers make of the same content for a spec that differs in one setting."""
    if file.suffix == ".safetensors":
        tensors, metadata = load_tensors(file)
        spec = another_spec(metadata["spec"])
        kept = {key: metadata[key] for key in metadata.keys() - {"format", "spec", "guda_version", "checksum"}}
        save_tensors(file, tensors, spec, **kept)
    elif file.suffix == ".csv":
        write_csv(file, read_csv(file)[1:])
        another_configuration(Path(record_of(file)), None)
    elif file.name == "config.json":
        write_json(file, json.loads(file.read_text()) | {"dropout": 0.25})
    elif file.parent.name == "groups":
        value = json.loads(file.read_text())
        write_members(file, another_spec(value["spec"]), value["members"])
    else:
        record = read_record(file)
        outputs = [file.parent / name for name in record["outputs"]]
        costs = {key: record[key] for key in record.keys() - {"spec", "outputs", "peak_memory_bytes"}}
        write_record(file, another_spec(record["spec"]), outputs, **costs)


def another_spec(text):
    values = json.loads(text)
    *outer, last = SETTINGS[values["stage"]]
    section = values
    for key in outer:
        section = section[key]
    section[last] += 1 if isinstance(section[last], int) else "x"
    (kind,) = (kind for kind in derived(specs.Spec) if vars(kind).get("stage") == values["stage"])
    return kind.parse(json.dumps(values))


def derived(kind):
    """All classes that derive from this one, at any distance."""
    return [each for child in kind.__subclasses__() for each in (child, *derived(child))]


def header_end(data):
    return 8 + int.from_bytes(data[:8], "little")


FOR_ALL = {"half": half, "swapped": swapped, "another configuration": another_configuration}
FOR_TENSORS = FOR_ALL | {
    "last byte lost": last_byte_lost,
    "flip in the length": flip(lambda data: 1),
    "flip in the header": flip(lambda data: data.index(b'"dtype"') + 3),
    "flip in the spec": flip(lambda data: data.index(b'"spec"') + 20),
    "flip in the data": flip(header_end),
    "flip at the end": flip(lambda data: len(data) - 1, bit=7),
    "pickled": pickled,
    "pickled by torch": pickled_by_torch,
}
FOR_TEXT = FOR_ALL | {
    "emptied": emptied,
    "flip at the start": flip(lambda data: 0),
    "flip in the middle": flip(lambda data: len(data) // 2, bit=1),
    "flip to no UTF-8": flip(lambda data: len(data) // 3, bit=7),
}
FOR_JSON = FOR_TEXT | {"another shape": another_shape}
HARMS = {".safetensors": FOR_TENSORS, ".csv": FOR_TEXT, ".json": FOR_JSON}
