"""A record belongs to the files that it describes, and is written once for each."""

import pytest

from guda.core.records import read_record, write_record
from guda.methods.random.plan import RandomSpec

SPEC = RandomSpec(groups=["a", "b"], buckets={}, seed=0)


@pytest.fixture
def files(tmp_path):
    """A record of 7 seconds, and the output that it describes."""
    output, record = tmp_path / "output.csv", tmp_path / "output.record.json"
    output.write_text("query,group\n")
    write_record(record, SPEC, [output], seconds=7.0, evaluations=3)
    return record, output


def test_the_first_record_of_the_same_files_is_kept(files, capsys):
    record, output = files
    before = record.stat()
    output.write_text("query,group\n")
    write_record(record, SPEC, [output], seconds=8.0)
    assert read_record(record)["seconds"] == 7.0
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert capsys.readouterr().err == f"{record}: kept, since another process has made the same files meanwhile\n"


def test_a_record_of_other_files_is_replaced(files):
    record, output = files
    output.write_text("query,group\nq,a\n")
    write_record(record, SPEC, [output], seconds=8.0)
    assert read_record(record)["seconds"] == 8.0


def test_a_record_of_another_spec_is_replaced(files):
    record, output = files
    other = SPEC.model_copy(update={"seed": 1})
    write_record(record, other, [output], seconds=8.0)
    assert read_record(record, other.digest())["seconds"] == 8.0


def test_a_damaged_record_is_replaced(files):
    record, output = files
    record.write_text(record.read_text().replace("7.0", "6.0"))
    write_record(record, SPEC, [output], seconds=8.0)
    assert read_record(record)["seconds"] == 8.0
