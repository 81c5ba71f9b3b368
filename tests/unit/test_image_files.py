"""A user's own images and queries: which files count, what they are called, what is in them."""

import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from guda import config
from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.data.datasets.encoded import image_shape, openable, read_image, suffixes
from guda.data.datasets.image_files import list_images
from guda.data.groups import members_by_value

KEY = "data.folder"


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def draw(path, image=None, **options):
    """Write an image file, gray noise that depends on the file's name if none is given; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(4, 6, seed=sum(path.name.encode())) if image is None else image).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Five images, nested, in three formats, among other files."""
    for name in ("b/2.png", "b/10.png", "a/x/1.bmp", "a/3.jpg", "top.png"):
        draw(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def dataset(folder, table=None):
    return load_dataset(config.Data(dataset="image_folder", folder=str(folder), table=table and str(table)))


# --- which files -------------------------------------------------------------------------------------


def test_ids_are_relative_paths_in_the_order_of_text(folder):
    # '1' < '2', so 10 before 2; 'a/3' < 'a/x'; whatever the order in which the system lists them.
    names = ["a/3.jpg", "a/x/1.bmp", "b/10.png", "b/2.png", "top.png"]
    assert list_images(folder, KEY).images == names
    assert list(dataset(folder).table["id"]) == names


def test_hidden_files_and_folders_are_passed_over(folder):
    before = list_images(folder, KEY).images
    for name in (".hidden.png", "a/._3.png", ".thumbnails/1.png", "a/.cache/deep/1.png"):
        draw(folder / name)
    assert list_images(folder, KEY).images == before


def test_suffixes_count_in_either_case(folder):
    draw(folder / "c" / "4.PNG", format="PNG")
    assert "c/4.PNG" in list_images(folder, KEY).images


@pytest.mark.parametrize("name", ['a"b.png', "a\nb.png", "a\tb.png", "x\n/a.png"])
def test_names_that_cannot_be_ids_are_refused(folder, name):
    draw(folder / name)
    with pytest.raises(DataError) as caught:
        list_images(folder, KEY)
    assert f"{KEY}: the file name {name!r} contains one of" in str(caught.value)


def test_other_names_are_ids_as_they_are(folder):
    for name in ("é ü.png", "a, b.png", "'q'.png", "100%.png", "-x.png", "x.y.png"):
        draw(folder / name)
        assert name in list_images(folder, KEY).images


def test_a_folder_without_images_and_no_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=f"^{KEY}: '{tmp_path}' holds no images"):
        list_images(tmp_path, KEY)
    with pytest.raises(DataError, match=f"^{KEY}: '{tmp_path}/absent' is not a folder"):
        list_images(tmp_path / "absent", KEY)


# --- the table ---------------------------------------------------------------------------------------


def test_labels_are_the_sub_folders_and_digests_those_of_the_files(folder):
    table = dataset(folder).table
    assert list(table.columns) == ["id", "sha256", "label", "folder_1", "folder_2"]
    assert list(table["label"]) == ["a", "a/x", "b", "b", None]
    assert list(table["folder_1"]) == ["a", "a", "b", "b", None]
    assert list(table["folder_2"]) == [None, "x", None, None, None]
    assert list(table["sha256"]) == [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in table["id"]]
    assert members_by_value(table, "label") == {"a": ["a/3.jpg"], "a/x": ["a/x/1.bmp"], "b": ["b/10.png", "b/2.png"]}


def test_a_table_gives_columns_order_and_selection(folder, tmp_path):
    (tmp_path / "table.csv").write_text(
        "artist,file,year\nann,b/2.png,007\n,a/3.jpg,\nbob,top.png,1e3\nNA,b/10.png,1\n"
    )
    table = dataset(folder, tmp_path / "table.csv").table
    assert list(table.columns) == ["id", "sha256", "artist", "year"]
    assert list(table["id"]) == ["b/2.png", "a/3.jpg", "top.png", "b/10.png"]  # a/x/1.bmp has no row
    assert list(table["artist"]) == ["ann", None, "bob", "NA"]  # text as it stands; empty is no value
    assert list(table["year"]) == ["007", None, "1e3", "1"]
    groups = members_by_value(table, "artist")
    assert groups == {"NA": ["b/10.png"], "ann": ["b/2.png"], "bob": ["top.png"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,artist\na/3.jpg,x\n", "has no column 'file'; found name, artist"),
        ("file,id\na/3.jpg,x\n", "the column 'id' is reserved"),
        ("file,sha256\na/3.jpg,x\n", "the column 'sha256' is reserved"),
        ("file,artist\na/3.jpg,x\na/3.jpg,y\n", "lists 'a/3.jpg' twice"),
        ("file,artist\na/4.jpg,x\n", "lists 'a/4.jpg', but there is no such image"),
        ("file,artist\n", "has no rows"),
        ("", "cannot be read as CSV"),
        (None, "cannot be read as CSV"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, tmp_path, text, message):
    if text is not None:
        (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=rf"^data\.table: .*{message}"):
        dataset(folder, tmp_path / "table.csv")


def test_where_the_folder_lies_is_no_matter_of_the_specs(folder, tmp_path):
    before = dataset(folder)
    folder.rename(tmp_path / "moved")
    after = dataset(tmp_path / "moved")
    assert (after.images_spec(), after.table_spec()) == (before.images_spec(), before.table_spec())


# --- pixels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back_exactly(tmp_path, suffix, channels):
    image = pixels(5, 7, 3) if channels == 3 else pixels(5, 7)
    path = draw(tmp_path / f"x.{suffix}", image)
    assert image_shape(path) == (channels, 5, 7)
    found = read_image(path, (channels, 5, 7), "y")
    assert found.dtype == np.uint8
    # [C, H, W]: a channel is the image's plane of that color.
    planes = image[..., None] if channels == 1 else image
    assert found.shape == (channels, 5, 7)
    assert all(np.array_equal(found[channel], planes[..., channel]) for channel in range(channels))


def test_modes_by_hand(tmp_path):
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    bits.save(tmp_path / "bits.png")
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "bits.png", (1, 1, 2), "y").tolist() == [[[0, 255]]]
    assert read_image(tmp_path / "palette.png", (3, 1, 2), "y").tolist() == [[[10, 40]], [[20, 50]], [[30, 60]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "I;16"])
def test_other_modes_are_refused(tmp_path, mode):
    Image.new(mode, (2, 2)).save(tmp_path / "x.tiff")
    with pytest.raises(DataError, match=rf"x\.tiff: images of mode {mode} are not supported; convert it"):
        image_shape(tmp_path / "x.tiff")


def test_a_jpeg_comes_back_nearly(tmp_path):
    # A flat image has no detail that compression could lose but one rounding of its color.
    path = draw(tmp_path / "x.jpg", np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8), quality=95)
    found = read_image(path, (3, 8, 8), "y").astype(int)
    assert np.abs(found - np.array([200, 100, 50])[:, None, None]).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_file_cut_off_anywhere_is_refused_or_whole(tmp_path, suffix):
    """What is behind the pixels may be missing, but no pixel."""
    path = draw(tmp_path / f"x.{suffix}", pixels(4, 6, 3))
    content, whole = path.read_bytes(), read_image(path, (3, 4, 6), "y")
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            found = read_image(path, (3, 4, 6), "y")
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert np.array_equal(found, whole), length


def test_images_of_another_shape_are_refused_by_name(folder):
    draw(folder / "b" / "9.png", pixels(4, 6, 3))
    with pytest.raises(DataError, match=r"9\.png: color with 6x4 pixels, but 'a/3\.jpg' is gray with 6x4 pixels"):
        _ = dataset(folder).images
    draw(folder / "b" / "9.png", pixels(6, 4))
    with pytest.raises(DataError, match=r"9\.png: gray with 4x6 pixels, but 'a/3\.jpg' is gray with 6x4 pixels"):
        _ = dataset(folder).images


def test_images_stand_in_the_order_of_the_table(folder):
    found = dataset(folder)
    assert found.image_shape == (1, 4, 6)
    assert found.images.shape == (5, 1, 4, 6)
    for row, name in enumerate(found.table["id"]):
        with Image.open(folder / name) as image:
            assert np.array_equal(found.images[row, 0], np.asarray(image))


def test_a_file_that_changed_after_planning_is_refused(folder):
    planned = dataset(folder)
    draw(folder / "b" / "2.png", pixels(4, 6, seed=99))
    with pytest.raises(DataError, match=r"2\.png: changed since the workflow was planned"):
        _ = planned.images
    assert dataset(folder).images_spec() != planned.images_spec()


def test_a_file_that_vanished_is_named(folder):
    planned = dataset(folder)
    (folder / "b" / "2.png").unlink()
    with pytest.raises(DataError, match=rf"^{folder}/b/2\.png: cannot be read \(No such file or directory\)"):
        _ = planned.images


# --- what is no picture ------------------------------------------------------------------------------

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n%%EOF\n"


def test_no_program_is_started_for_a_file_that_asks_for_one(tmp_path, monkeypatch):
    """PostScript under the name of a picture: Pillow would run Ghostscript on it."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (tmp_path / "x.png").write_bytes(EPS)
    with pytest.raises(DataError, match=r"x\.png: not a readable image \(unknown format\)"):
        read_image(tmp_path / "x.png", (3, 4, 6), "y")
    assert not (tmp_path / "started").exists()


def test_only_formats_of_pictures_are_known():
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".ppm", ".tga", ".ico"} <= suffixes()
    foreign = {".eps", ".ps", ".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".fits", ".grib", ".bufr", ".wmf", ".emf"}
    assert not suffixes() & foreign
    assert not {"EPS", "MPEG", "HDF5", "FITS", "GRIB", "BUFR", "WMF", "FPX", "MIC"} & set(openable())


def test_what_is_left_out_is_counted_and_named(folder):
    for name in ("readme.pdf", "clip.mpg", "features.h5", "a/photo.heic", "b/scan", "z.TIF", "works.csv"):
        (folder / name).touch()
    draw(folder / "z.TIF", format="TIFF")
    found = dataset(folder)
    assert [name for name in found.table["id"] if name.startswith("z")] == ["z.TIF"]
    assert found.notes == (
        f"{KEY}: files in '{folder}' left out, with no image suffix: "
        "'a/photo.heic', 'b/scan', 'clip.mpg', 'features.h5', 'notes.txt' and 1 more",
    )


def test_images_without_a_row_are_named(folder, tmp_path):
    (folder / "notes.txt").unlink()
    (tmp_path / "table.csv").write_text("file,artist\nb/2.png,x\na/3.jpg,y\n")
    assert dataset(folder, tmp_path / "table.csv").notes == (
        f"data.table: images left out, with no row in '{tmp_path}/table.csv': 'a/x/1.bmp', 'b/10.png', 'top.png'",
    )


def test_a_folder_of_other_files_says_what_it_holds(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(DataError, match=r"holds no images \(looked for .* \.\.\.; it holds 'a\.heic'\)$"):
        list_images(tmp_path, KEY)


# --- links, pipes, devices ---------------------------------------------------------------------------


def test_links_to_folders_are_followed(folder, tmp_path):
    draw(tmp_path / "elsewhere" / "deep" / "9.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert "linked/deep/9.png" in list_images(folder, KEY).images
    assert dataset(folder).images.shape == (6, 1, 4, 6)


def test_each_folder_is_read_once_whatever_links_to_it(folder, tmp_path):
    """Circles, links to a sibling and to what the folder lies in end; whose own name comes first."""
    before = list_images(folder, KEY).images
    (folder / "a" / "circle").symlink_to("..")
    (folder / "0").symlink_to("b")  # before b in the alphabet
    (folder / "up").symlink_to(tmp_path.parent)
    (folder / "root").symlink_to("/")
    found = list_images(folder, KEY)
    assert found.images == before
    assert found.repeated == ["0", "a/circle", "root", "up"]
    assert found.notes(folder, KEY)[1].endswith("to folders that were already read: '0', 'a/circle', 'root', 'up'")


def test_two_links_to_a_folder_give_it_the_name_of_the_first(folder, tmp_path):
    draw(tmp_path / "elsewhere" / "9.png")
    for name in ("y", "x"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    found = list_images(folder, KEY)
    assert [name for name in found.images if "9" in name] == ["x/9.png"]
    assert found.repeated == ["y"]


@pytest.mark.parametrize("table", [False, True])
def test_all_that_is_no_regular_file_is_named_at_once_and_not_opened(folder, tmp_path, table):
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "lost.png").symlink_to("nothing")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "page.jpg").write_bytes(b"<html>404</html>")
    if table:
        names = [*list_images(folder, KEY).images]
        (tmp_path / "table.csv").write_text("\n".join(["file", *names]))
    with pytest.raises(DataError) as caught:
        dataset(folder, tmp_path / "table.csv" if table else None)
    assert str(caught.value).splitlines() == [
        "5 of 10 images cannot be used:",
        f"  {folder}/circle.png: cannot be read (Too many levels of symbolic links); repair or remove it",
        f"  {folder}/lost.png: cannot be read (No such file or directory); repair or remove it",
        f"  {folder}/page.jpg: not a readable image (unknown format); repair or remove it",
        f"  {folder}/pipe.png: cannot be read (it is a named pipe, not a regular file); repair or remove it",
        f"  {folder}/zero.png: cannot be read (it is a device, not a regular file); repair or remove it",
    ]


def test_a_folder_without_one_readable_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"GIF?")
    with pytest.raises(DataError, match=r"^\S+a\.png: not a readable image \(unknown format\); repair or remove it$"):
        dataset(tmp_path)
