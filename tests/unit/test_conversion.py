"""Size and channels that images are brought to: arithmetic by hand, and Pillow's filter against one written here."""

import struct
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

import import_queries
from guda import config
from guda.core.artifacts import load_tensors, unpack_ids
from guda.core.errors import DataError
from guda.data.datasets import Dataset, load_dataset
from guda.data.datasets.conversion import AS_IT_IS, Conversion, fit, fit_array
from guda.data.datasets.encoded import image_shape, read_image
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

GREY = Conversion(channels=1)
COLOR = Conversion(channels=3)
BY_HAND = np.arange(6, dtype=np.uint8).reshape(2, 3)  # 0 1 2 / 3 4 5


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fitted(array, *shape):
    return fit(Image.fromarray(array), shape)


def lanczos(line, length):
    """A line of values resampled by the windowed sinc of three lobes, widened where it shrinks."""
    scale = len(line) / length
    width = max(scale, 1)
    found = []
    for center in (np.arange(length) + 0.5) * scale:
        x = (np.arange(len(line)) + 0.5 - center) / width
        weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
        found.append(weights @ line / weights.sum())
    return np.array(found)


# --- size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 2, 3), [[0, 1, 2], [3, 4, 5]]),  # as it is
        ((1, 2, 1), [[1], [4]]),  # the middle column
        ((1, 2, 2), [[0, 1], [3, 4]]),  # half a column to either side: the left one stays
    ],
)
def test_an_image_as_high_as_wanted_is_only_cropped(shape, expected):
    assert fitted(BY_HAND, *shape).tolist() == [expected]


def test_the_center_is_cut_out():
    image = np.arange(49, dtype=np.uint8).reshape(7, 7)[:, 1:6]  # 7 rows of 5
    assert np.array_equal(fitted(image, 1, 3, 5)[0], image[2:5])
    assert np.array_equal(fitted(np.ascontiguousarray(image.T), 1, 5, 3)[0], image.T[:, 2:5])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (5, 3), (64, 64), (1, 1), (33, 7)])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_stays_constant(height, width, value, channels):
    image = np.full((16, 24) if channels == 1 else (16, 24, 3), value, dtype=np.uint8)
    found = fitted(image, channels, height, width)
    assert found.shape == (channels, height, width)
    assert (found == value).all()


@pytest.mark.parametrize(("found", "wanted"), [((32, 32), (8, 8)), ((28, 28), (32, 32)), ((30, 30), (7, 7))])
def test_scaling_is_by_lanczos_with_antialiasing(found, wanted):
    image = pixels(*found) // 4 + 96  # so that nothing overshoots, which Pillow clips between the two directions
    by_rows = np.stack([lanczos(row, wanted[1]) for row in image.astype(float)])
    expected = np.stack([lanczos(column, wanted[0]) for column in by_rows.T]).T
    assert np.abs(fitted(image, 1, *wanted)[0] - expected).max() < 1.5  # and rounds there, as at the end


def test_the_shorter_side_is_scaled_and_the_longer_one_cropped():
    """Bands of 0 and 255 at both ends of a long image of 100 vanish; the scaled middle is left."""
    image = np.full((8, 32), 100, dtype=np.uint8)
    image[:, :4], image[:, -4:] = 0, 255
    assert (fitted(image, 1, 4, 4) == 100).all()
    assert (fitted(np.ascontiguousarray(image.T), 1, 4, 4) == 100).all()
    assert (fitted(image, 1, 4, 16)[0, 0, [0, -1]] == [0, 255]).all()  # the whole width


def test_arrays_are_brought_to_size_like_files(tmp_path):
    images = pixels(3, 3, 12, 10)
    for image in images:
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "x.png")
        expected = read_image(tmp_path / "x.png", (1, 6, 8), "y", Conversion((6, 8), 1))
        assert np.array_equal(fit_array(image, (1, 6, 8)), expected)
    assert fit_array(images[0], (3, 12, 10)).base is images


# --- channels and transparency -----------------------------------------------------------------------


def test_gray_becomes_color_by_repetition_and_color_gray_by_luma():
    assert fitted(BY_HAND, 3, 2, 3).tolist() == [BY_HAND.tolist()] * 3
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    assert fitted(image, 1, 1, 4).tolist() == [[[76, 150, 29, 9]]]  # 0.299, 0.587, 0.114


def transparent(mode, path):
    """Two pixels, black: the first can be seen, the second cannot. Returns the file."""
    if mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.putpixel((1, 0), 1)
        image.save(path, transparency=1)
    elif mode == "L":
        image = Image.new("L", (2, 1))
        image.putpixel((1, 0), 5)
        image.save(path, transparency=5)
    else:
        opaque = (0, 255) if mode == "LA" else (0, 0, 0, 255)
        image = Image.new(mode, (2, 1))
        image.putpixel((0, 0), opaque)
        image.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_what_is_transparent_is_put_on_white_where_channels_are_set_and_else_refused(tmp_path, mode):
    path = transparent(mode, tmp_path / "x.png")
    assert read_image(path, (1, 1, 2), "y", GREY).tolist() == [[[0, 255]]]
    assert read_image(path, (3, 1, 2), "y", COLOR).tolist() == [[[0, 255]]] * 3
    kind = mode if mode in ("RGBA", "LA") else f"{mode} with transparency"
    for conversion in (AS_IT_IS, Conversion(size=(1, 2))):
        with pytest.raises(DataError, match=rf"x\.png: images of mode {kind} are not supported; .*set data\.channels"):
            image_shape(path, conversion)


def test_half_of_the_opacity_is_half_of_the_way_to_white(tmp_path):
    Image.new("RGBA", (1, 1), (255, 55, 0, 128)).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png", (3, 1, 1), "y", COLOR).ravel()
    assert np.abs(found.astype(float) - [255, 255 - 200 * 128 / 255, 255 - 255 * 128 / 255]).max() <= 1


def test_whole_numbers_without_a_scale_are_refused_whatever_is_set(tmp_path):
    Image.new("I", (2, 2)).save(tmp_path / "x.tiff")
    with pytest.raises(DataError, match=r"images of mode I are not supported; convert it to 8-bit gray or RGB$"):
        image_shape(tmp_path / "x.tiff", Conversion((2, 2), 1))


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I;16", "tiff"), ("CMYK", "jpg"), ("F", "tiff")])
def test_other_modes_are_converted_only_where_channels_are_set(tmp_path, mode, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.new(mode, (2, 2)).save(path)
    for conversion in (AS_IT_IS, Conversion(size=(2, 2))):
        with pytest.raises(
            DataError, match=rf"{mode} are not supported; .*, or set data\.channels, which converts it$"
        ):
            image_shape(path, conversion)
    assert image_shape(path, COLOR) == (3, 2, 2)
    assert read_image(path, (1, 2, 2), "y", GREY).shape == (1, 2, 2)


INKS = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (0, 0, 0, 55)]


def test_inks_take_away_light(tmp_path):
    """No ink is white, cyan has no red, magenta no green, yellow no blue; black takes all."""
    Image.fromarray(np.array([INKS], dtype=np.uint8), "CMYK").save(tmp_path / "x.tiff")
    expected = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0), (200, 200, 200)]
    found = read_image(tmp_path / "x.tiff", (3, 1, 6), "y", COLOR)
    assert found.transpose(1, 2, 0).tolist() == [[*map(list, expected)]]
    # 0.299, 0.587, 0.114 of red, green and blue.
    assert read_image(tmp_path / "x.tiff", (1, 1, 6), "y", GREY).tolist() == [[[255, 179, 105, 226, 0, 200]]]


@pytest.mark.parametrize(
    ("mode", "gray"), [("YCbCr", (99, 128, 128)), ("LAB", (0, 128, 128)), ("LAB", (255,) + (128,) * 2)]
)
def test_a_gray_of_other_color_spaces_is_gray(tmp_path, mode, gray):
    Image.new(mode, (2, 1), gray).save(tmp_path / "x.tiff")
    expected = np.full((3, 1, 2), gray[0])
    found = read_image(tmp_path / "x.tiff", (3, 1, 2), "y", COLOR).astype(int)
    assert np.abs(found - expected).max() <= (0 if mode == "YCbCr" else 1)


# 257 is one step of 8 bits; 128 are still less than half of it, 129 more.
SIXTEEN = np.array([[0, 128, 129, 257, 514 - 129, 32768, 65535 - 129, 65535]], dtype=np.uint16)
EIGHT = [0, 0, 1, 1, 1, 128, 254, 255]


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path, suffix):
    Image.fromarray(SIXTEEN).save(tmp_path / f"x.{suffix}")
    assert read_image(tmp_path / f"x.{suffix}", (1, 1, 8), "y", GREY).tolist() == [[EIGHT]]
    assert read_image(tmp_path / f"x.{suffix}", (3, 1, 8), "y", COLOR).tolist() == [[EIGHT]] * 3


def test_sixteen_bits_of_either_order_of_bytes_and_with_white_at_zero(tmp_path):
    for mode, order in (("I;16", "<u2"), ("I;16B", ">u2")):
        Image.frombytes(mode, (8, 1), SIXTEEN.astype(order).tobytes()).save(tmp_path / "x.tiff")
        assert read_image(tmp_path / "x.tiff", (1, 1, 8), "y", GREY).tolist() == [[EIGHT]]
    Image.fromarray(SIXTEEN).save(tmp_path / "x.tiff", tiffinfo={262: 0})
    content = (tmp_path / "x.tiff").read_bytes()
    entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    (tmp_path / "x.tiff").write_bytes(content.replace(entry, struct.pack("<HHIHH", 262, 3, 1, 0, 0)))
    with Image.open(tmp_path / "x.tiff") as image:
        assert image.tag_v2[262] == 0
    found = read_image(tmp_path / "x.tiff", (1, 1, 8), "y", GREY)
    assert found.tolist() == [[[255 - value for value in EIGHT]]]


def test_a_value_of_sixteen_bits_may_be_transparent(tmp_path):
    Image.fromarray(SIXTEEN).save(tmp_path / "x.png", transparency=32768)
    assert read_image(tmp_path / "x.png", (1, 1, 8), "y", GREY).tolist() == [[[0, 0, 1, 1, 1, 255, 254, 255]]]


def test_floats_run_from_0_to_1(tmp_path):
    def read(*values):
        Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "x.tiff")
        return read_image(tmp_path / "x.tiff", (1, 1, len(values)), "y", GREY).tolist()[0][0]

    assert read(0, 0.5, 1, 0.25, 1 / 255) == [0, 128, 255, 64, 1]  # 127.5 and 63.75, rounded
    for values in ((0, 1.5), (-0.1, 1), (0, np.nan), (0, 200)):
        with pytest.raises(DataError, match=r"x\.tiff: floats from .*, but gray runs from 0 to 1; rescale it, or save"):
            read(*values)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_of_several_frames_the_first_is_read(tmp_path, suffix):
    first, second = Image.new("RGB", (6, 4), (255, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 255))
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second], **options)
    found = read_image(tmp_path / f"x.{suffix}", (3, 4, 6), "y")
    assert (found == np.array([255, 0, 0])[:, None, None]).all()


# --- EXIF --------------------------------------------------------------------------------------------

# What the pixels 0 1 2 / 3 4 5 are shown as; the meaning of each orientation stands in the EXIF standard.
UPRIGHT = {
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],
    3: [[5, 4, 3], [2, 1, 0]],
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[3, 0], [4, 1], [5, 2]],
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[2, 5], [1, 4], [0, 3]],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_images_are_the_way_up_that_exif_says_and_planning_knows(tmp_path, orientation, suffix):
    exif, path = Image.Exif(), tmp_path / f"x.{suffix}"
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(BY_HAND).convert("RGB").save(path, exif=exif, **options)
    expected = np.array(UPRIGHT[orientation])
    assert image_shape(path) == (3, *expected.shape)
    assert np.array_equal(read_image(path, (3, *expected.shape), "y"), [expected] * 3)


def test_exif_that_cannot_be_read_turns_nothing(tmp_path):
    Image.fromarray(BY_HAND).save(tmp_path / "x.png", exif=b"Exif\0\0neither MM nor II")
    assert read_image(tmp_path / "x.png", image_shape(tmp_path / "x.png"), "y").tolist() == [BY_HAND.tolist()]


def test_exif_behind_the_pixels_is_passed_over_when_planning_and_when_reading(tmp_path):
    """Planning would have to decode the image to see it."""
    exif, path = Image.Exif(), tmp_path / "x.png"
    exif[ExifTags.Base.Orientation] = 6
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    Image.fromarray(BY_HAND).save(path)
    written, end = path.read_bytes()[:-12], path.read_bytes()[-12:]
    path.write_bytes(written + chunk + end)
    with Image.open(path) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 6
    assert read_image(path, image_shape(path), "y").tolist() == [BY_HAND.tolist()]


# --- datasets and queries ----------------------------------------------------------------------------


def table(n):
    return pd.DataFrame({"id": [f"i{row}" for row in range(n)]})


def spec(images, *conversion):
    return Dataset.build("mine", [images], table(len(images)), conversion=Conversion(*conversion)).images_spec()


def test_the_spec_follows_what_images_are_brought_to():
    images = pixels(2, 1, 8, 8)
    specs = [spec(images), spec(images, (8, 4)), spec(images, (4, 8)), spec(images, None, 3), spec(images, (8, 4), 3)]
    assert len({each.digest() for each in specs}) == len(specs)
    assert spec(images, (8, 4)) == specs[1]


@pytest.fixture
def mixed(tmp_path):
    """A folder of images of three sizes and two modes."""
    for name, shape in {"a/0.png": (12, 16), "a/1.png": (8, 8, 3), "b/0.png": (30, 9)}.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(*shape)).save(tmp_path / "images" / name)
    return str(tmp_path / "images")


def test_images_of_mixed_sizes_are_brought_to_one(mixed):
    dataset = load_dataset(config.Data(dataset="image_folder", folder=mixed, size=(8, 8), channels=1))
    assert dataset.image_shape == dataset.images.shape[1:] == (1, 8, 8)
    assert np.array_equal(dataset.images[0], fitted(pixels(12, 16), 1, 8, 8))
    with pytest.raises(DataError, match=r"1\.png: color with 8x8 .* gray with 16x12 .*, or set data\.size and"):
        _ = load_dataset(config.Data(dataset="image_folder", folder=mixed)).images


@pytest.mark.parametrize("data", [{"size": [16, 8]}, {"channels": 3}, {"size": [16, 8], "channels": 3}])
def test_digits_are_converted_like_all_others(data):
    plain, found = load_dataset(config.Data()), load_dataset(config.Data(**data))
    assert found.image_shape == found.images.shape[1:] == (data.get("channels", 1), *data.get("size", [8, 8]))
    assert found.images_spec() != plain.images_spec()
    assert found.table_spec() == plain.table_spec()


def test_queries_are_brought_to_the_training_images(mixed):
    data = {"size": [8, 8], "channels": 1}
    of = Experiment(load_config({"data": data, "queries": {"folder": mixed}}))
    assert of.bucket_spec("bucket-0000").shape == [1, 8, 8]
    for less in ({"size": [8, 8]}, {"channels": 1}):
        with pytest.raises(DataError, match="but a training image is gray with 8x8 pixels"):
            Experiment(load_config({"data": less, "queries": {"folder": mixed}}))


def test_the_job_that_reads_queries_converts_them(mixed, tmp_path, monkeypatch):
    of = Experiment(load_config({"data": {"size": [8, 8], "channels": 1}, "queries": {"folder": mixed}}))
    spec = of.bucket_spec("bucket-0000")
    sections = ["--data", of.config.data.model_dump_json(), "--queries", of.config.queries.model_dump_json()]
    monkeypatch.setattr(sys, "argv", ["x", "--spec", spec.canonical(), *sections, "--output", str(tmp_path / "bucket")])
    import_queries.main()
    tensors, _ = load_tensors(tmp_path / "bucket", spec.digest(), "np")
    assert unpack_ids(tensors["ids"]) == ["a/0.png", "a/1.png", "b/0.png"]
    expected = [fitted(pixels(*shape), 1, 8, 8) for shape in [(12, 16), (8, 8, 3), (30, 9)]]
    assert np.array_equal(tensors["images"], expected)
