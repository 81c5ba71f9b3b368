"""Names of files as tables write them: which image is meant, and what is refused."""

import unicodedata

import pytest
from PIL import Image

from guda.config import Data
from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.data.datasets.file_names import FileNames
from guda.data.groups import read_groups

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "x/é.png") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        ("x/1.png", "x/1.png"),
        ("./x/1.png", "x/1.png"),
        ("x//1.png", "x/1.png"),
        ("x/../x/1.png", "x/1.png"),
        (r"x\1.png", "x/1.png"),
        (r".\x\1.png", "x/1.png"),
        (" x/1.png ", "x/1.png"),
        ("x/1.png", " x/1.png"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED.replace("/", "\\"), DECOMPOSED),
        ("x/2.png", None),
        ("../x/1.png", None),
        ("/x/1.png", None),
        ("X/1.png", None),
    ],
)
def test_a_name_is_found_however_it_is_written(listed, known):
    assert FileNames([known or "x/1.png", "y/1.png"]).find(listed, "t") == known


def test_a_name_as_it_stands_comes_first_and_two_others_are_refused():
    names = FileNames([COMPOSED, DECOMPOSED, r"a\b.png", "a/b.png"])
    assert [names.find(name, "t") for name in names.known] == list(names.known)
    with pytest.raises(DataError, match=r"^t lists '\./x/.*\.png', but .* both match; rename one of them"):
        names.find(f"./{COMPOSED}", "t")


@pytest.mark.parametrize("style", [str, lambda path: str(path).replace("/", "\\"), lambda path: f"{path}/../x/1.png"])
def test_the_folders_own_path_may_stand_before(tmp_path, monkeypatch, style):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "link", tmp_path / "real"):
        for spelled in ("link", "./link", str(tmp_path / "link")):
            listed = style(folder / "x").removesuffix("/../x/1.png") + "/1.png"
            assert FileNames(["x/1.png"], type(tmp_path)(spelled)).find(listed, "t") == "x/1.png"
    assert FileNames(["x/1.png"], tmp_path / "real").find(str(tmp_path / "other" / "x" / "1.png"), "t") is None


@pytest.fixture
def folder(tmp_path):
    for name in ("x/0.png", DECOMPOSED, "y/2.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def dataset(folder, text, **settings):
    (folder.parent / "t.csv").write_text(text, encoding="utf-8")
    table = str(folder.parent / "t.csv")
    return load_dataset(Data(dataset="image_folder", folder=str(folder), table=table, **settings))


@pytest.mark.parametrize("column", ["file", "file_name"])
def test_ids_are_the_names_that_the_folder_has(folder, column):
    found = dataset(folder, f"{column},artist\n{folder}/x/0.png,A\n.\\{COMPOSED},B\n./y/2.png,B\n").table
    assert list(found["id"]) == ["x/0.png", DECOMPOSED, "y/2.png"]
    assert list(found.columns) == ["id", "sha256", "artist"]


def test_beside_file_the_column_file_name_is_one_like_others(folder):
    assert list(dataset(folder, "file,file_name\nx/0.png,a\n").table.columns) == ["id", "sha256", "file_name"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x/0.png,A\nx\\0.png,B\n", r"lists 'x/0\.png' twice; keep one row"),
        ("X/0.PNG,A\n", r"lists 'X/0\.PNG', but there is no such image in '.*images'; did you mean 'x/0\.png'\?"),
        ("images/y/2.png,A\n", r"'images/y/2\.png', but there is no such image in .*; did you mean 'y/2\.png'\?"),
        ("z.png,A\n", r"no such image in '.*images'; names there are like 'x/0\.png'"),
    ],
)
def test_a_file_that_is_not_there_is_answered_with_one_like_it(folder, rows, message):
    with pytest.raises(DataError, match=rf"^data\.table: '.*t\.csv' lists .*{message}|{message}"):
        dataset(folder, f"file,artist\n{rows}")


@pytest.mark.parametrize("column", ["id", "file", "file_name"])
def test_memberships_know_images_however_they_are_written(folder, column):
    memberships = folder.parent / "m.csv"
    memberships.write_text(f"{column};group\n./x/0.png;a\n{COMPOSED};b\ny\\2.png;b\n", encoding="utf-8")
    settings = Data(dataset="image_folder", folder=str(folder), memberships=str(memberships))
    assert read_groups(load_dataset(settings).table, settings) == {"a": ["x/0.png"], "b": [DECOMPOSED, "y/2.png"]}
    memberships.write_text(f"{column},group\n./x/0.png,a\nx/0.png,a\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"lists 'x/0\.png' in 'a' twice; keep one row"):
        read_groups(load_dataset(settings).table, settings)
