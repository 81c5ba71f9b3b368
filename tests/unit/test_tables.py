"""Tables of the user's in CSV and Parquet: what each value is as text, and what is refused."""

import datetime

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from guda.datasets.tables import read_table
from guda.errors import DataError

DAY, TIME = datetime.date(2020, 1, 31), datetime.datetime(2020, 1, 31, 3, 4, 5)


def written(path, **columns):
    parquet.write_table(pa.table(columns), path)
    return path


def column(path, values):
    return list(read_table(written(path, x=values), "data.table")["x"])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["ann", "", None, "é", "007"]), ["ann", None, None, "é", "007"]),
        (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
        (pa.array([7, None, 7]).dictionary_encode(), ["7", None, "7"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([1950, None, -3]), ["1950", None, "-3"]),
        (pa.array([2**63], pa.uint64()), ["9223372036854775808"]),
        (pa.array([1950.0, 0.1, float("nan"), None]), ["1950", "0.1", None, None]),
        (pa.array([0.1], pa.float32()), ["0.1"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array([DAY, None]), ["2020-01-31", None]),
        (pa.array([TIME, None]), ["2020-01-31T03:04:05", None]),
        (pa.array([TIME], pa.timestamp("ns", "UTC")), ["2020-01-31T03:04:05+00:00"]),
        (pa.array([1], pa.decimal128(3, 2)), ["1.00"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_the_text_of_each_type_of_parquet(tmp_path, values, texts):
    assert column(tmp_path / "t.parquet", values) == texts


def test_a_frame_of_pandas_comes_back_as_its_values(tmp_path):
    frame = pd.DataFrame({"file": ["a", "b"], "artist": pd.Categorical(["x", None]), "year": pd.array([1950, None])})
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    assert read_table(tmp_path / "t.parquet", "data.table").to_dict("list") == {
        "file": ["a", "b"],
        "artist": ["x", None],
        "year": ["1950", None],
    }


def test_both_formats_give_the_same_table(tmp_path):
    (tmp_path / "t.CSV").write_text("Künstler,jahr\nann,1950\n,\nNA,007\n", encoding="utf-8")
    written(tmp_path / "t.parquet", Künstler=["ann", None, "NA"], jahr=["1950", "", "007"])
    from_csv, from_parquet = (read_table(tmp_path / name, "data.table") for name in ("t.CSV", "t.parquet"))
    pd.testing.assert_frame_equal(from_csv, from_parquet)
    assert list(from_csv["Künstler"]) == ["ann", None, "NA"]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    (tmp_path / "year=2020").mkdir()
    assert list(read_table(written(tmp_path / "year=2020" / "t.parquet", x=["a"]), "data.table")) == ["x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([["a"]]), "list<"),
        (pa.array([{"a": 1}]), "struct<"),
        (pa.array([b"a"]), "binary"),
        (pa.array([datetime.timedelta(1)]), "duration"),
    ],
)
def test_columns_that_are_no_text_are_refused_by_name(tmp_path, values, kind):
    with pytest.raises(DataError, match=rf"^data\.table: '.*t\.parquet': column 'x' is of type {kind}.*; remove it"):
        column(tmp_path / "t.parquet", values)


def test_two_columns_of_one_name_are_refused(tmp_path):
    parquet.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"has two columns 'x'; rename one"):
        read_table(tmp_path / "t.parquet", "data.table")


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=rf"^data\.table: '.*{name}' is no table .*; known: \.csv, \.parquet$"):
        read_table(tmp_path / name, "data.table")


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"file\na"])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"^data\.table: '.*t\.parquet' cannot be read as Parquet \(.+\)$"):
        read_table(tmp_path / "t.parquet", "data.table")


def test_text_that_is_no_utf_8_is_refused(tmp_path):
    latin = pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xe9"))
    with pytest.raises(DataError, match=r"cannot be read as Parquet \(.*utf-8"):
        column(tmp_path / "t.parquet", latin)
