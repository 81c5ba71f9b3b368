"""Folders of Hugging Face from someone else: what they name elsewhere, on the network or in a script is not touched."""

import http.server
import json
import os
import threading
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from datasets import Features, Value
from PIL import Image
from pyarrow import parquet

from guda import config
from guda.core.errors import DataError
from guda.data.datasets import load_dataset
from guda.data.datasets.soundness import check_sound

DEEP = "[" * 20_000


def loaded(folder):
    return load_dataset(config.Data(dataset="huggingface", folder=str(folder), group_by="label"))


def refused(folder):
    with pytest.raises(DataError) as caught:
        loaded(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def server():
    """A local server of an empty page; yields its address and the list of requests."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def rows(folder, *paths):
    """A Parquet file whose rows hold no image, but name one each."""
    features = Features(image=datasets.Image(), label=Value("string"))
    table = pa.table(
        {"image": [{"bytes": None, "path": path} for path in paths], "label": ["x"] * len(paths)},
        schema=features.arrow_schema,
    )
    folder.mkdir(exist_ok=True)
    parquet.write_table(table, folder / "train.parquet")
    return folder


@pytest.fixture
def files(tmp_path):
    """A folder of one Parquet file of two images."""
    data = datasets.Dataset.from_dict(
        {"image": [Image.new("L", (8, 8), value) for value in (1, 2)], "label": ["x", "y"]}
    )
    (tmp_path / "d").mkdir()
    data.to_parquet(tmp_path / "d" / "train.parquet")
    return tmp_path / "d"


@pytest.fixture
def saved(tmp_path):
    """The same, written by save_to_disk, in two splits."""
    data = datasets.Dataset.from_dict({"image": [Image.new("L", (8, 8))] * 2, "label": ["x", "y"]})
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "s")
    return tmp_path / "s"


# --- rows --------------------------------------------------------------------------------------------


def test_images_that_rows_name_in_the_folder_are_read(tmp_path):
    folder = rows(tmp_path / "d", "images/1.png", str(tmp_path / "d" / "images" / "2.png"), "images/../images/link.png")
    (folder / "images").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("L", (4, 4), int(name[0])).save(folder / "images" / name)
    (folder / "images" / "link.png").symlink_to("1.png")
    assert loaded(folder).images[:, 0, 0, 0].tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "which is outside of"),
        ("/etc/hostname", "which is outside of"),
        ("../out.png", "which is outside of"),
        ("images/../../out.png", "which is outside of"),
        ("link.png", "which is outside of"),
        ("linked/out.png", "which is outside of"),
        ("http://127.0.0.1/x.png", "a URL, which is never opened"),
        ("hf://datasets/a/b/x.png", "a URL, which is never opened"),
        ("zip://x.png::out.zip", "a URL, which is never opened"),
        ("file:///etc/hostname", "a URL, which is never opened"),
    ],
)
def test_images_elsewhere_are_refused_with_row_and_path(tmp_path, path, reason):
    Image.new("L", (4, 4)).save(tmp_path / "out.png")
    Image.new("L", (4, 4)).save(rows(tmp_path / "d", "in.png", path) / "in.png")
    (tmp_path / "d" / "link.png").symlink_to("../out.png")
    (tmp_path / "d" / "linked").symlink_to("..")
    message = refused(tmp_path / "d")
    assert message.startswith(f"{tmp_path}/d: train-000001: its image is {path!r}, {reason}")
    assert message.endswith("; put the images themselves into the dataset")


@pytest.mark.parametrize("path", ["a\0.png", "circle.png", ""])
def test_paths_that_are_none_are_refused(tmp_path, path):
    Image.new("L", (4, 4)).save(rows(tmp_path / "d", "in.png", path) / "in.png")
    (tmp_path / "d" / "circle.png").symlink_to("circle.png")
    assert refused(tmp_path / "d").startswith(f"{tmp_path}/d: train-000001: its image ")


def test_every_row_without_a_usable_image_is_named_at_once(tmp_path):
    folder = rows(tmp_path / "d", "in.png", "absent.png", "../out.png", "page.png", "text.png")
    Image.new("L", (4, 4)).save(folder / "in.png")
    for name in ("page.png", "text.png"):
        (folder / name).write_text("<html>")
    with pytest.raises(DataError) as caught:
        loaded(folder)
    headline, *lines = str(caught.value).splitlines()
    assert headline == "4 of 5 images cannot be used:"
    assert [line.split(": ")[1] for line in lines] == [f"train-00000{row}" for row in (1, 2, 3, 4)]


def test_broken_images_in_rows_are_said_by_the_plan(files):
    table = parquet.read_table(files / "train.parquet")
    images = [{"bytes": b"<html>", "path": None}, *table["image"].to_pylist(), {"bytes": b"", "path": None}]
    labels = pa.array(["x", "x", "y", "y"])
    kinds = [table.schema.field("image").type, pa.string()]
    written = pa.table([pa.array(images, kinds[0]), labels], names=["image", "label"])
    parquet.write_table(written.replace_schema_metadata(table.schema.metadata), files / "train.parquet")
    with pytest.raises(
        DataError, match=r"^2 of 4 images cannot be used:\n.*train-000000: not a readable.*\n.*train-000003"
    ):
        check_sound([loaded(files)])


# --- what describes the files ------------------------------------------------------------------------


def card(path, files):
    return f"---\nconfigs:\n- config_name: default\n  {files}:\n  - split: train\n    path: {path}\n---\n"


ELSEWHERE = [
    "{server}/train.parquet",
    "hf://datasets/a/b/train.parquet",
    "https://x.org/a.parquet",
    "../d/train.parquet",
]
ELSEWHERE += ["/d/*.parquet", "data/../../d/*", "zip://a.parquet::{server}/a.zip", "'C:\\d\\train.parquet'", "..\\d\\x"]


@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
def test_a_card_that_names_files_elsewhere_is_refused_before_anything_is_asked(files, server, file, path):
    address, asked = server
    text = card(path.format(server=address), "data_files")
    (files / file).write_text(text if file == "README.md" else text.strip("-\n"))
    message = refused(files)
    assert message.startswith(f"{files}/{file}: names ")
    assert asked == []


@pytest.mark.parametrize("entry", ["data_dir: {server}/d", "data_dir: ../x", "data_files: {server}/x.parquet"])
def test_short_forms_of_a_card_are_seen_too(files, server, entry):
    address, asked = server
    (files / "README.md").write_text(f"---\nconfigs:\n- config_name: x\n  {entry.format(server=address)}\n---\n")
    assert refused(files).startswith(f"{files}/README.md: names ")
    assert asked == []


def test_rows_with_addresses_send_no_request(tmp_path, server):
    address, asked = server
    assert "a URL, which is never opened" in refused(rows(tmp_path / "d", f"{address}/x.png"))
    assert asked == []


def test_a_card_that_names_files_in_the_folder_is_followed(files):
    (files / "data").mkdir()
    (files / "train.parquet").rename(files / "data" / "any.parquet")
    (files / "README.md").write_text(card("data/*.parquet", "data_files"))
    assert list(loaded(files).table["label"]) == ["x", "y"]


@pytest.mark.parametrize("yaml", ["configs: [", "configs: 5", "configs: [5]", "- a\n- b", "a: b: c", f"a: {DEEP}"])
@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
def test_a_broken_card_is_one_error_that_names_it(files, file, yaml):
    (files / file).write_text(f"---\n{yaml}\n---\n" if file == "README.md" else yaml)
    assert refused(files).startswith(f"{files}/{file}: its ")


def test_lists_of_lists_that_grow_without_end_are_refused(files):
    """Nine times nine ... references to the same list, in a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (files / "README.md").write_text(
        "\n".join(["---", *lines, "configs:", "- config_name: x", "  data_files: *a11", "---"])
    )
    assert refused(files) == f"{files}/README.md: names a list in place of a path; fix it, or remove the file"


NOT_JSON = [
    "",
    "{",
    "[]",
    "7",
    "{}",
    DEEP,
    '{"a": ' * 100_000,
    "\0",
    '{"splits": 7, "features": [], "_data_files": {}}',
]
NOT_JSON += ['{"splits": [7], "features": {"image": 7}, "_data_files": [7]}', '{"_data_files": [{"filename": 7}]}']


@pytest.mark.parametrize("text", NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize("file", ["dataset_dict.json", "train/state.json", "train/dataset_info.json"])
def test_damaged_descriptions_are_one_error_that_names_the_file(saved, file, text):
    (saved / file).write_text(text)
    assert refused(saved).startswith((f"{saved}/{file}: ", f"{saved}: not a readable dataset"))


@pytest.mark.parametrize("text", NOT_JSON, ids=range(len(NOT_JSON)))
def test_a_damaged_dataset_infos_json_is_one_error(files, text):
    (files / "dataset_infos.json").write_text(text)
    try:
        assert list(loaded(files).table["label"]) == ["x", "y"]
    except DataError as error:
        assert str(files) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["../{s}.arrow", "{server}/a.arrow", "/{s}.arrow", "a::b"])
def test_data_files_of_a_saved_dataset_lie_in_it(saved, server, name):
    address, asked = server
    state = json.loads((saved / "train" / "state.json").read_text())
    state["_data_files"][0]["filename"] = name.format(server=address, s="x")
    (saved / "train" / "state.json").write_text(json.dumps(state))
    assert refused(saved).startswith(f"{saved}/train/state.json: names ")
    assert asked == []


@pytest.mark.parametrize("name", ["", ".", "folder"])
def test_a_folder_among_the_data_files_is_named_by_state_json(saved, name):
    """Without the advice to remove the dataset's own folder."""
    (saved / "train" / "folder").mkdir()
    (saved / "train" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert refused(saved) == f"{saved}/train/state.json: names {name!r}, which is not a file; save the dataset again"


@pytest.mark.parametrize("split", ["../s/train", "/train", "http://127.0.0.1/x", "..", ".", "a/b", ""])
def test_splits_of_a_saved_dataset_are_folders_in_it(saved, split):
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["train", split]}))
    assert refused(saved).startswith(f"{saved}/dataset_dict.json: ")


# --- what is no data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.py", "loader.py", "train.py"])
def test_no_script_beside_the_data_is_run(files, tmp_path, name):
    (files / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    if name == "d.py":
        assert refused(files) == f"{files}: d.py is a loading script, which is never run; save the dataset as Parquet"
    else:
        assert list(loaded(files).table["label"]) == ["x", "y"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["README.md", "other.parquet", "state.json", "dataset_infos.json", "data/x"])
def test_a_pipe_or_device_in_the_folder_is_refused_unopened(files, name):
    (files / "data").mkdir()
    os.mkfifo(files / name)
    assert refused(files) == f"{files}/{name}: cannot be read (it is a named pipe, not a regular file); remove it"
    (files / name).unlink()
    (files / name).symlink_to("/dev/zero")
    assert refused(files) == f"{files}/{name}: cannot be read (it is a device, not a regular file); remove it"


def test_a_link_to_a_folder_is_said_where_it_is_not_followed(files, tmp_path):
    (tmp_path / "more").mkdir()
    (files / "train.parquet").rename(tmp_path / "more" / "b.parquet")
    (files / "more").symlink_to("../more")
    assert "doesn't contain any data files" in refused(files)
    (files / "train.parquet").write_bytes((tmp_path / "more" / "b.parquet").read_bytes())
    assert loaded(files).notes == (f"{files}: links to folders are not followed here: 'more'",)


def test_a_split_of_a_saved_dataset_may_be_a_link(saved, tmp_path):
    (saved / "train").rename(tmp_path / "moved")
    (saved / "train").symlink_to("../moved")
    assert (loaded(saved).notes, len(loaded(saved).table)) == ((), 2)
    [file] = (tmp_path / "moved").glob("*.arrow")
    file.unlink()
    os.mkfifo(file)
    assert refused(saved).endswith(".arrow: cannot be read (it is a named pipe, not a regular file); remove it")


def test_damaged_offsets_in_a_saved_dataset_are_not_followed(saved):
    """Four bytes in turn are overwritten by a large number, wherever they lie."""
    [file] = (saved / "train").glob("*.arrow")
    content = file.read_bytes()
    for start in range(0, len(content), 16):
        file.write_bytes(content[:start] + b"\xff\xff\xff\x7f" + content[start + 4 :])
        try:
            assert len(loaded(saved).table) == 2
        except DataError as error:
            assert str(saved) in str(error)


def test_the_library_stays_as_it_was(files):
    before = datasets.config.HF_HUB_OFFLINE, datasets.config.HF_DATASETS_OFFLINE
    loaded(files)
    assert before == (datasets.config.HF_HUB_OFFLINE, datasets.config.HF_DATASETS_OFFLINE)
    assert sorted(path.name for path in Path(files).iterdir()) == ["train.parquet"]
