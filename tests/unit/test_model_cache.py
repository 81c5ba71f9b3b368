"""Models shared by spec: the same bytes come out, whole or not at all."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train as train_stage
from guda import config, specs
from guda.denoisers import load_denoiser, save_denoiser
from guda.errors import ArtifactError
from guda.model_cache import ModelCache
from guda.paths import CONFIG, MODEL_FILES, RECORD, STATE, WEIGHTS
from guda.records import read_record, write_record

SCRIPTS = Path(train_stage.__file__).parent
FILES = sorted([*MODEL_FILES, RECORD])
PARENT, OTHER_PARENT = "1" * 64, "2" * 64


@pytest.fixture
def spec(tiny_unet):
    return specs.TrainSpec(
        images="i", excluded=None, unet=tiny_unet, noise_schedule=config.NoiseSchedule(), training=config.Training()
    )


@pytest.fixture
def other(spec):
    return spec.model_copy(update={"images": "others"})


@pytest.fixture
def model(tmp_path, denoiser, spec):
    return write_model(tmp_path / "model", denoiser, spec)


@pytest.fixture
def cache(tmp_path):
    return ModelCache(str(tmp_path / "cache"))


def write_model(folder, denoiser, spec, seconds=2.5, **metadata):
    written = save_denoiser(folder, denoiser, spec, **metadata)
    write_record(folder / RECORD, spec, written, seconds=seconds, evaluations=7)
    return folder


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def cached(tmp_path):
    """Folders of the models in the cache, hidden ones too."""
    return sorted((tmp_path / "cache" / "models").iterdir())


# --- in and out --------------------------------------------------------------------------------------


def test_an_absent_model_is_not_fetched(cache, spec, tmp_path):
    assert not cache.fetch(tmp_path / "copy", spec)
    assert not cache.fetch(tmp_path / "copy", spec, PARENT)
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "cache").exists()


def test_a_poor_model_is_warned_of_when_it_is_fetched_too(cache, denoiser, spec, tmp_path, capsys):
    model = tmp_path / "poor"
    written = save_denoiser(model, denoiser, spec)
    write_record(model / RECORD, spec, written, seconds=1.0, health={"loss": 0.97, "errors": {}})
    cache.store(model, spec)
    assert cache.fetch(tmp_path / "copy", spec)
    assert "warning: this model predicts no better than nothing would" in capsys.readouterr().err


def test_what_is_stored_is_fetched_byte_by_byte(cache, model, spec, schedule, tmp_path, capsys):
    cache.store(model, spec)
    assert cache.fetch(tmp_path / "copy", spec)
    assert contents(tmp_path / "copy") == contents(model)
    assert sorted(contents(model)) == FILES
    (address,) = cached(tmp_path)
    assert f"taken from the cache: {address}" in capsys.readouterr().err
    load_denoiser(tmp_path / "copy", schedule, spec.digest())
    assert read_record(tmp_path / "copy" / RECORD, spec.digest())["seconds"] == 2.5  # of the run that made it


def test_a_fetched_model_takes_the_place_of_another(cache, model, spec, other, denoiser, tmp_path):
    cache.store(model, spec)
    write_model(tmp_path / "copy", denoiser, other)
    assert cache.fetch(tmp_path / "copy", spec)
    assert contents(tmp_path / "copy") == contents(model)


def test_a_copy_is_a_copy(cache, model, spec, tmp_path):
    """What happens to the folder afterwards is nothing to the cache, and the other way round."""
    cache.store(model, spec)
    before = contents(model)
    (model / WEIGHTS).write_bytes(b"gone")
    cache.fetch(tmp_path / "copy", spec)
    (tmp_path / "copy" / CONFIG).write_text("gone")
    (address,) = cached(tmp_path)
    assert contents(address) == before


def test_only_the_models_files_are_stored(cache, model, spec, tmp_path):
    (model / STATE).write_bytes(b"large")
    cache.store(model, spec)
    (address,) = cached(tmp_path)
    assert sorted(contents(address)) == FILES


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_what_the_umask_lets_them(cache, model, spec, tmp_path, umask):
    before = os.umask(umask)
    try:
        cache.store(model, spec)
    finally:
        os.umask(before)
    (address,) = cached(tmp_path)
    assert address.stat().st_mode & 0o777 == 0o777 & ~umask
    assert {file.stat().st_mode & 0o777 for file in address.iterdir()} == {0o666 & ~umask}


def test_the_address_is_of_the_spec_and_the_parent(cache, model, spec, other, denoiser, tmp_path):
    cache.store(model, spec)
    assert not cache.fetch(tmp_path / "copy", other)
    assert not cache.fetch(tmp_path / "copy", spec, PARENT)
    cache.store(write_model(tmp_path / "child", denoiser, spec, parent_sha256=PARENT), spec, PARENT)
    assert cache.fetch(tmp_path / "copy", spec, PARENT)
    assert not cache.fetch(tmp_path / "copy", spec, OTHER_PARENT)
    # Part of the interface: several installations share one folder.
    assert [folder.name for folder in cached(tmp_path)] == [spec.digest(), f"{spec.digest()}-{'1' * 20}"]


def test_an_empty_name_is_no_cache(model, spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ModelCache("").store(model, spec)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not ModelCache("").fetch(tmp_path / "copy", spec)


def test_whoever_stores_second_leaves_the_first(cache, model, spec, denoiser, tmp_path):
    cache.store(model, spec)
    second = write_model(tmp_path / "second", denoiser, spec, seconds=9)
    cache.store(second, spec)
    (address,) = cached(tmp_path)
    assert contents(address) == contents(model)
    assert contents(address) != contents(second)


# --- what goes wrong ---------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def reformat(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"norm_num_groups": 4}))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_model_is_refused_naming_the_folder(cache, model, spec, tmp_path, name, damage):
    cache.store(model, spec)
    (address,) = cached(tmp_path)
    damage(address / name)
    with pytest.raises(ArtifactError) as caught:
        cache.fetch(tmp_path / "copy", spec)
    assert f"the cached model {address} is damaged" in str(caught.value)
    assert name in str(caught.value)
    assert "Delete that folder." in str(caught.value)
    assert not (tmp_path / "copy").exists()


def test_a_config_of_another_network_is_refused(cache, model, spec, tmp_path):
    cache.store(model, spec)
    (address,) = cached(tmp_path)
    reformat(address / CONFIG)
    with pytest.raises(ArtifactError, match=f"{address} is damaged.*not the file that its record describes"):
        cache.fetch(tmp_path / "copy", spec)


def test_a_whole_model_of_another_spec_at_the_address_is_refused(cache, spec, other, denoiser, tmp_path):
    cache.store(write_model(tmp_path / "model", denoiser, other), spec)
    with pytest.raises(ArtifactError, match=r"is damaged.*made for another configuration"):
        cache.fetch(tmp_path / "copy", spec)


def test_a_whole_model_of_another_parent_at_the_address_is_refused(cache, spec, denoiser, tmp_path):
    cache.store(write_model(tmp_path / "model", denoiser, spec, parent_sha256=OTHER_PARENT), spec, PARENT)
    with pytest.raises(ArtifactError, match=r"is damaged.*another base checkpoint"):
        cache.fetch(tmp_path / "copy", spec, PARENT)


def test_a_damaged_model_can_be_given_up_by_deleting_its_folder(cache, model, spec, tmp_path):
    cache.store(model, spec)
    (address,) = cached(tmp_path)
    for file in address.iterdir():
        file.unlink()
    address.rmdir()
    assert not cache.fetch(tmp_path / "copy", spec)
    cache.store(model, spec)
    assert cache.fetch(tmp_path / "copy", spec)


def test_an_incomplete_model_is_not_stored_and_leaves_nothing_behind(cache, model, spec, tmp_path, capsys):
    (model / RECORD).unlink()
    cache.store(model, spec)
    assert cached(tmp_path) == []
    assert f"not kept in the cache: [Errno 2] No such file or directory: '{model / RECORD}'" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_to_costs_no_model(model, spec, tmp_path, capsys):
    """Hours of training stand in `model`; a stage that failed now would have them deleted."""
    (tmp_path / "file").write_text("no folder")
    before = contents(model)
    ModelCache(str(tmp_path / "file")).store(model, spec)
    assert "not kept in the cache" in capsys.readouterr().err
    assert contents(model) == before
    assert not ModelCache(str(tmp_path / "file")).fetch(tmp_path / "copy", spec)


STORE = """
import sys, time
from pathlib import Path
from guda.model_cache import ModelCache
from guda.specs import TrainSpec
folder, ready, go, cache = map(Path, sys.argv[1:5])
spec = TrainSpec.parse(sys.argv[5])
ready.touch()
while not go.exists():
    time.sleep(0.001)
for number in range(50):
    ModelCache(f"{cache}/{number}").store(folder, spec)
    found = cache / str(number) / "models" / spec.digest()
    assert len(list(found.iterdir())) == 3, "the other's model is seen half-written"
"""


def test_two_processes_that_store_at_once_leave_complete_models(denoiser, spec, tmp_path):
    """In fifty caches, so that some are written at the same time; the models' records tell who came first."""
    folders = [write_model(tmp_path / name, denoiser, spec, seconds) for name, seconds in (("a", 1), ("b", 2))]
    shared = [tmp_path / "go", tmp_path / "cache", spec.canonical()]
    calls = [
        subprocess.Popen(
            [sys.executable, "-c", STORE, folder, f"{folder}.ready", *shared],
            cwd=SCRIPTS,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    while not all(Path(f"{folder}.ready").exists() for folder in folders):
        assert all(call.poll() is None for call in calls)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [(call.communicate()[1], call.returncode) for call in calls] == [("", 0)] * 2
    whole = [contents(folder) for folder in folders]
    for number in range(50):
        (found,) = (tmp_path / "cache" / str(number) / "models").iterdir()
        assert found.name == spec.digest()
        assert contents(found) in whole
        assert ModelCache(str(tmp_path / "cache" / str(number))).fetch(tmp_path / "copy", spec)
