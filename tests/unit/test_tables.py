"""Tables of the user's in each format: what each value is as text, and what is refused."""

import datetime

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from guda.core.errors import DataError
from guda.data.datasets.table_files import read_table

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
    (tmp_path / "t.CSV").write_text("Künstler,jahr\nann,1950\n,1951\nNA,007\n", encoding="utf-8")
    written(tmp_path / "t.parquet", Künstler=["ann", "", "NA"], jahr=["1950", "1951", "007"])
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


@pytest.mark.parametrize("name", ["t", "t.csv.gz"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(
        DataError, match=rf"^data\.table: '.*{name}' cannot be read as a table; known: \.csv, .*\.parquet$"
    ):
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


# --- delimited text, as spreadsheets, programs and people write it -----------------------------------

WORKS = {"file": ["a", "b"], "artist": ["Ann", None], "height": ["1.5", "20"]}
AS_PEOPLE_HAVE_IT = {
    "plain": b"file,artist,height\na,Ann,1.5\nb,,20\n",
    "a comma more in every row": b"file,artist,height\na,Ann,1.5,\nb,,20,\n",
    "commas after the last column": b"file,artist,height\na,Ann,1.5,,\nb,,20,,\n,,,,\n",
    "semicolons and decimal commas": b"file;artist;height\na;Ann;1,5\nb;;20\n",
    "semicolons and decimal points": b"file;artist;height\na;Ann;1.5\nb;;20\n",
    "sep= of Excel": b"sep=;\r\nfile;artist;height\r\na;Ann;1,5\r\nb;;20\r\n",
    "tabs": b"file\tartist\theight\na\tAnn\t1,5\nb\t\t20\n",
    "bars": b"file|artist|height\na|Ann|1.5\nb||20\n",
    "mark of UTF-8": b"\xef\xbb\xbffile,artist,height\na,Ann,1.5\nb,,20\n",
    "UTF-16 of Excel": "file\tartist\theight\r\na\tAnn\t1,5\r\nb\t\t20\r\n".encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + "file,artist,height\na,Ann,1.5\nb,,20".encode("utf-16-be"),
    "lines of Windows": b"file,artist,height\r\na,Ann,1.5\r\nb,,20\r\n",
    "lines of old Macs": b"file,artist,height\ra,Ann,1.5\rb,,20\r",
    "no line end": b"file,artist,height\na,Ann,1.5\nb,,20",
    "quotes": b'"file","artist","height"\n"a","Ann","1.5"\n"b","","20"\n',
    "spaces": b"file, artist, height \n a, Ann ,1.5\nb, , 20\n",
    "spaces before quotes": b'file, "artist", height\na, "Ann", 1.5\nb, "", 20\n',
    "hard spaces": "file,\u00a0artist,height\na,Ann\u00a0,1.5\nb,\u00a0,20\n".encode(),
    "blank lines": b"\n\nfile,artist,height\n\na,Ann,1.5\n  \nb,,20\n\n",
}


def read(path, content):
    path.write_bytes(content)
    return read_table(path, "data.table").to_dict("list")


@pytest.mark.parametrize("content", AS_PEOPLE_HAVE_IT.values(), ids=AS_PEOPLE_HAVE_IT)
@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_delimited_text_is_one_table_in_whichever_way_it_is_written(tmp_path, name, content):
    assert read(tmp_path / name, content) == WORKS


@pytest.mark.parametrize("name", ["t.tsv", "t.TSV", "t.tab"])
def test_tabs_by_name_leave_commas_alone(tmp_path, name):
    found = read(tmp_path / name, b"file\tborn, died, where\na\t1,5\nb\tc, d\n")
    assert found == {"file": ["a", "b"], "born, died, where": ["1,5", "c, d"]}
    assert read(tmp_path / name, b"a, b\tfile\nx\ty\n") == {"a, b": ["x"], "file": ["y"]}
    assert read(tmp_path / name, b"file,artist\na,x\n") == {"file": ["a"], "artist": ["x"]}


def test_values_keep_what_stands_in_them(tmp_path):
    content = b'file,title\na,"Smith, J. ""Jo"""\nb,5" x 7"\nc,"two\nlines"\nd,NA\ne,1_000\nf,"1,5"\n'
    assert read(tmp_path / "t.csv", content)["title"] == [
        'Smith, J. "Jo"', '5" x 7"', "two\nlines", "NA", "1_000", "1,5"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("file,tags (a;b;c)\nx,y\n", ["file", "tags (a;b;c)"]),
        ("c;d,n\nx,y;z\n", ["c;d", "n"]),
        ('"a;b;c",file\nx,y\n', ["a;b;c", "file"]),
        ("file;born, died, where;x\nx;y;z\n", ["file", "born, died, where", "x"]),
        ("file;height, width\nx;y\n", ["file", "height, width"]),
        ('"file, or so"\t"a;b"\n"x"\t"y"\n', ["file, or so", "a;b"]),
        ("file;artist\n", ["file", "artist"]),
        ("file\na;b\n", ["file"]),
        ("\tfile\n0\tx\n", ["Unnamed: 0", "file"]),
        (";file\n0;x\n", ["Unnamed: 0", "file"]),
    ],
)
def test_what_divides_header_and_first_row_alike_is_the_delimiter(tmp_path, text, names):
    assert list(read(tmp_path / "t.csv", text.encode())) == names


def test_a_decimal_comma_is_one_where_all_values_are_numbers(tmp_path):
    found = read(tmp_path / "t.csv", b"a;b;c\n1,5;1,5;-0,25\n2;x;\n")
    assert found == {"a": ["1.5", "2"], "b": ["1,5", "x"], "c": ["-0.25", None]}


def test_an_index_of_pandas_has_the_name_that_pandas_gives_it(tmp_path):
    pd.DataFrame({"file": ["a", "b"]}).to_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv", "k").to_dict("list") == {"Unnamed: 0": ["0", "1"], "file": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,artist\na,x\nb,y,z\n", r"read as CSV \(line 3 has 3 field\(s\), the header 2\); quote values"),
        (b"file,artist\na,x\n\nb\n", r"\(line 4 has 1 field\(s\), the header 2\); leave missing values empty"),
        (b'file,artist\na,"x\ny"\nb\n', r"\(line 4 has 1 field"),
        (b'file,artist\na,x\nb,"y\nc,z\n', r"\(line 3: unexpected end of data\); quotes must enclose"),
        (b'file,artist\na,"x" y\n', r"\(line 2: ',' expected after '\"'\); quotes must enclose"),
        (b"file,artist, artist\na,x,y\n", r"has two columns 'artist'; rename one"),
        (b"file,artist\na,Andr\xe9\n", r"\(line 2 has the byte 0xe9, which is not utf-8\); save it as UTF-8"),
        ("file,artist\na,x\n".encode("utf-16-le"), r"\(it has zero bytes, .*\); save it as UTF-8"),
        (b"\n  \n", r"\(No columns: it is empty\)"),
    ],
)
def test_text_that_is_no_table_is_refused_with_the_line(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"^data\.table: '.*t\.csv'.*{message}"):
        read(tmp_path / "t.csv", content)


# --- JSON --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", '{"file": "a", "n": 1, "x": null}\n\n{"n": 2.5, "file": "b", "x": true}\n'),
        ("t.ndjson", '\ufeff{"file": "a", "n": 1, "x": ""}\r\n{"file": "b", "n": 2.5, "x": true}'),
        ("t.json", '[{"file": "a", "n": 1, "x": null},\n {"file": "b", "n": 2.5, "x": true}]'),
        ("t.JSON", '{"file": "a", "n": 1, "x": null}\n{"file": "b", "n": 2.5, "x": true}\n'),
    ],
)
def test_objects_of_json_are_rows(tmp_path, name, text):
    assert read(tmp_path / name, text.encode()) == {"file": ["a", "b"], "n": ["1", "2.5"], "x": [None, "true"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": 2, "b": 3}\n', "line 2 has the keys a, b, but the first line a; give each the same"),
        ('[{"a": 1}, 5]', "row 2: expected an object, found 5"),
        ('{"a": {"b": 1}}', "row 1: a is an object, expected a text"),
        ('{"a": 1}\n{"a": [2]}', "row 2: a is a list, expected a text"),
        ('{"a": 1, "a": 2}', "line 1 is not readable JSON .*'a' occurs twice"),
        ("[]", "has no rows"),
        ("5", "line 1: expected an object, found 5"),
        ("[" * 100_000, "is not readable JSON .*nested too deeply"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"^data\.table: '.*t\.jsonl'.*{message}"):
        read(tmp_path / "t.jsonl", text.encode())


@pytest.mark.parametrize("name", ["t.xlsx", "t.XLS", "t.ods"])
def test_a_spreadsheet_is_to_be_exported(tmp_path, name):
    with pytest.raises(DataError, match=rf"'.*{name}' cannot be read as a table; export the spreadsheet as CSV"):
        read(tmp_path / name, b"PK")
