"""Pictures that cannot be used are all named when planning, and those found sound are not decoded again."""

import contextlib
import io
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guda import config
from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.data.datasets.soundness import check_sound
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

SETTINGS = {"dataset": "image_folder", "folder": "images", "group_by": "label", "size": [8, 8], "channels": 3}
N_IMAGES = 30


def jpeg(seed, shape=(48, 36, 3)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Thirty JPEGs in two sub-folders, in a folder where Snakemake works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    for number in range(N_IMAGES):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return tmp_path / "images"


def dataset(**settings):
    return load_dataset(config.Data(**(SETTINGS | settings)))


def looked_at(capsys, *datasets):
    """How many images are decoded by a check of the datasets."""
    capsys.readouterr()
    with contextlib.suppress(DataError):
        check_sound(datasets)
    said = capsys.readouterr().err
    return int(said.rsplit("/")[-1].split()[0]) if said else 0


def memory():
    [file] = Path(".snakemake/guda/sound_images").iterdir()
    return file


# --- what is said ------------------------------------------------------------------------------------


def test_a_plan_names_every_broken_picture(folder):
    """A JPEG cut off, a web page, half a header: with the reason, whatever Pillow thinks of their first bytes."""
    (folder / "a" / "04.jpg").write_bytes(jpeg(4)[:-200])
    (folder / "a" / "08.jpg").write_bytes(b"<html>404</html>")
    (folder / "b" / "05.jpg").write_bytes(jpeg(5)[:300])
    (folder / "b" / "07.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        Experiment(load_config({"data": SETTINGS, "metrics": {"content": None}, "unlearn": {"n_neighbors": 1}}))
    headline, *lines = str(caught.value).splitlines()
    assert headline == "4 of 30 images cannot be used:"
    assert [line.split(": ")[0].strip() for line in lines] == [
        "images/a/04.jpg", "images/a/08.jpg", "images/b/05.jpg", "images/b/07.jpg"
    ]  # fmt: skip
    assert "broken image (image file is truncated" in lines[0]
    assert all(line.endswith("; repair or remove it") for line in lines)


def test_ten_are_named_and_the_rest_counted(folder):
    for number in range(13):
        (folder / "ab"[number % 2] / f"{number:02d}.jpg").write_bytes(b"GIF?")
    with pytest.raises(DataError) as caught:
        check_sound([dataset()])
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (12, "13 of 30 images cannot be used:", "  and 3 more")


def test_one_is_said_in_a_line(folder):
    (folder / "a" / "00.jpg").write_bytes(b"GIF?")  # the first, whose shape the others would have
    with pytest.raises(DataError, match=r"^images/a/00\.jpg: not a readable image \(unknown format\); repair or rem"):
        check_sound([dataset(size=None, channels=None)])


def test_pictures_of_other_shapes_and_modes_are_said_with_the_broken_ones(folder):
    Image.new("L", (36, 48)).save(folder / "a" / "02.jpg")
    Image.new("RGB", (5, 4)).save(folder / "b" / "03.jpg")
    Image.new("CMYK", (36, 48)).save(folder / "b" / "09.jpg")
    with pytest.raises(DataError) as caught:
        check_sound([dataset(size=None, channels=None)])
    assert [line.split("; ")[0].strip() for line in str(caught.value).splitlines()] == [
        "3 of 30 images cannot be used:",
        "images/a/02.jpg: gray with 36x48 pixels, but 'a/00.jpg' is color with 36x48 pixels",
        "images/b/03.jpg: color with 5x4 pixels, but 'a/00.jpg' is color with 36x48 pixels",
        "images/b/09.jpg: images of mode CMYK are not supported",
    ]
    check_sound([dataset()])  # all of it converted


def test_queries_and_those_held_out_are_looked_at_too(folder, tmp_path):
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "q.jpg").write_bytes(jpeg(99)[:-200])
    rest = {"metrics": {"content": None}, "unlearn": {"n_neighbors": 1}}
    with pytest.raises(DataError, match=r"^asked/q\.jpg: broken image \(image file is truncated"):
        Experiment(load_config({"data": SETTINGS, "queries": {"folder": "asked"}} | rest))
    held_out = SETTINGS | {"held_out": {"count": 5}}
    [first, *_] = load_dataset(config.Data(**held_out)).held_out.table["id"]
    (folder / first).write_bytes(jpeg(0)[:-200])
    with pytest.raises(DataError, match=rf"^images/{first}: broken image"):
        Experiment(load_config({"data": held_out} | rest))


def test_the_plan_notes_what_is_left_out_and_what_is_there_twice(folder, tmp_path):
    (folder / "a" / "0.heic").touch()
    (folder / "b" / "copy.jpg").write_bytes(jpeg(0))
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "q.jpg").write_bytes(jpeg(99))
    (tmp_path / "asked" / "readme.pdf").touch()
    rest = {
        "metrics": {"content": None},
        "unlearn": {"n_neighbors": 1, "batch_size": 8},
        "queries": {"folder": "asked"},
    }
    rest |= {"training": {"batch_size": 8}}
    assert Experiment(load_config({"data": SETTINGS} | rest)).notes() == [
        "data.folder: files in 'images' left out, with no image suffix: 'a/0.heic'",
        "queries.folder: files in 'asked' left out, with no image suffix: 'readme.pdf'",
        "2 images have a byte-identical copy in other groups or in none, such as 'a/00.jpg' (a) and 'b/copy.jpg' "
        "(b): a model trained without one still learns from the other",
    ]


# --- what is remembered ------------------------------------------------------------------------------


def test_only_new_pictures_are_decoded(folder, capsys):
    assert looked_at(capsys, dataset()) == N_IMAGES
    assert looked_at(capsys, dataset()) == 0
    (folder / "a" / "00.jpg").write_bytes(jpeg(100))
    (folder / "a" / "new.jpg").write_bytes(jpeg(101))
    (folder / "a" / "copy.jpg").write_bytes(jpeg(1))  # known by its bytes
    assert looked_at(capsys, dataset()) == 2
    assert looked_at(capsys, dataset()) == 0


def test_a_broken_picture_is_said_again_and_sound_ones_are_remembered_beside_it(folder, capsys):
    (folder / "a" / "00.jpg").write_bytes(jpeg(0)[:-200])
    assert [looked_at(capsys, dataset()) for _ in range(3)] == [N_IMAGES, 1, 1]
    (folder / "a" / "00.jpg").write_bytes(jpeg(0))
    assert [looked_at(capsys, dataset()) for _ in range(2)] == [1, 0]


def test_what_pictures_are_brought_to_is_part_of_what_is_remembered(capsys):
    for settings in ({}, {"size": (4, 4)}, {"channels": 1}, {"size": None}):
        assert [looked_at(capsys, dataset(**settings)) for _ in range(2)] == [N_IMAGES, 0]


@pytest.mark.parametrize(
    "change", [lambda old: b"", lambda old: old[:-8], lambda old: old[:-1] + b"?", lambda old: b"x"]
)
def test_a_damaged_memory_is_none(capsys, change):
    assert looked_at(capsys, dataset()) == N_IMAGES
    memory().write_bytes(change(memory().read_bytes()))
    assert [looked_at(capsys, dataset()) for _ in range(2)] == [N_IMAGES, 0]


def test_a_memory_that_is_a_pipe_is_none(capsys):
    assert looked_at(capsys, dataset()) == N_IMAGES
    file = memory()
    file.unlink()
    os.mkfifo(file)
    assert [looked_at(capsys, dataset()) for _ in range(2)] == [N_IMAGES, 0]


def test_a_memory_that_cannot_be_kept_fails_no_plan(tmp_path, capsys):
    (tmp_path / ".snakemake" / "guda").mkdir()
    (tmp_path / ".snakemake" / "guda" / "sound_images").touch()  # a file where the folder would be
    assert [looked_at(capsys, dataset()) for _ in range(2)] == [N_IMAGES, N_IMAGES]


def test_a_read_only_folder_fails_no_plan(tmp_path, capsys):
    (tmp_path / ".snakemake").chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert looked_at(capsys, dataset()) == N_IMAGES
    finally:
        (tmp_path / ".snakemake").chmod(0o755)


def test_nothing_is_written_where_snakemake_does_not_work(tmp_path, capsys):
    (tmp_path / ".snakemake").rmdir()
    assert looked_at(capsys, dataset()) == N_IMAGES
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_pictures_that_are_arrays_need_no_check(capsys):
    assert looked_at(capsys, load_dataset(config.Data())) == 0
