"""Models shared by spec: the same bytes come out, whole or not at all."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accounts import GROUP, ONE, OTHER, account, folder_of_all, needs_root

import train as train_stage
from guda import config, specs
from guda.core.artifacts import save_tensors, sha256_file, write_text
from guda.core.errors import ArtifactError, GudaError
from guda.core.paths import CONFIG, MODEL_FILES, RECORD, STATE, WEIGHTS
from guda.core.records import read_record, write_record
from guda.models import check as model_check
from guda.models.cache import ModelCache
from guda.models.classifier import GroupClassifier, load_classifier, save_classifier
from guda.models.denoisers import load_denoiser, new_denoiser, save_denoiser
from guda.unlearning.finetune.plan import ContinuedSettings, ContinuedTrainingSpec

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
from guda.models.cache import ModelCache
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


# --- between accounts --------------------------------------------------------------------------------


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def shared(model, spec):
    """A function that makes a cache's folder which all accounts reach, a model that all read, and room for copies."""
    with folder_of_all() as outer:

        def make(permissions, group=0):
            root = outer / "cache"
            root.mkdir()
            os.chown(root, -1, group)
            root.chmod(permissions)
            return root

        shutil.copytree(model, outer / "model")
        (outer / "copies").mkdir()
        (outer / "copies").chmod(0o1777)
        model_check.model_check(spec, model_check.Origin())(model)  # imports all that the check needs, which root may
        yield make, outer / "model", outer / "copies"


@needs_root
@pytest.mark.parametrize(
    ("permissions", "group", "folder", "file"),
    [
        (0o2775, GROUP, 0o2775, 0o644),  # as docs/caching.md says: for a group to write, for all to read
        (0o2770, GROUP, 0o2770, 0o640),
        (0o1777, 0, 0o755, 0o644),  # like /tmp: what is there is its owner's
        (0o3770, GROUP, 0o2750, 0o640),
    ],
)
def test_accounts_read_each_others_models_whatever_their_umask(shared, spec, permissions, group, folder, file):
    make, model, copies = shared
    root = make(permissions, group)
    with account(ONE, umask=0o077, group=GROUP):
        ModelCache(str(root)).store(model, spec)
    (address,) = (root / "models").iterdir()
    assert mode(root / "models") == permissions
    assert mode(address) == folder
    assert {mode(each) for each in address.iterdir()} == {file}
    assert {each.stat().st_uid for each in (address, *address.iterdir())} == {ONE}
    if permissions & stat.S_ISGID:
        assert {each.stat().st_gid for each in (address, *address.iterdir())} == {GROUP}
    with account(OTHER, umask=0o077, group=GROUP):
        assert ModelCache(str(root)).fetch(copies / "copy", spec)
        other = spec.model_copy(update={"images": "others"})
        ModelCache(str(root)).store(copies / "copy", other)  # and adds its own
    assert len(list((root / "models").iterdir())) == 2
    assert contents(copies / "copy") == contents(model)


@needs_root
@pytest.mark.parametrize("closed", [".", "models", "address", CONFIG, WEIGHTS, RECORD])
def test_what_an_account_may_not_read_is_as_if_it_were_not_there(shared, spec, capsys, closed):
    """Neither an error nor 'damaged': the model is made, and what is there stays."""
    make, model, copies = shared
    root = make(0o2775, GROUP)
    ModelCache(str(root)).store(model, spec)
    (address,) = (root / "models").iterdir()
    path = {".": root, "models": root / "models", "address": address}.get(closed, address / closed)
    path.chmod(0o700 if path.is_dir() else 0o600)
    before = contents(address)
    with account(OTHER, group=GROUP):
        assert not ModelCache(str(root)).fetch(copies / "copy", spec)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("not read from the cache: [Errno 13] Permission denied: ")
        ModelCache(str(root)).store(model, spec)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("not kept in the cache: [Errno 13] Permission denied: ")
    assert not (copies / "copy").exists()
    assert contents(address) == before


@needs_root
def test_an_account_that_may_only_read_keeps_nothing_and_says_so(shared, spec, capsys):
    make, model, copies = shared
    root = make(0o755)
    ModelCache(str(root)).store(model, spec)
    with account(OTHER):
        assert ModelCache(str(root)).fetch(copies / "copy", spec)
        ModelCache(str(root)).store(model, spec.model_copy(update={"images": "others"}))
    assert "not kept in the cache: [Errno 13] Permission denied" in capsys.readouterr().err
    assert len(list((root / "models").iterdir())) == 1


@needs_root
def test_a_damaged_model_is_damaged_for_every_account(shared, spec):
    make, model, copies = shared
    root = make(0o755)
    ModelCache(str(root)).store(model, spec)
    (address,) = (root / "models").iterdir()
    (address / RECORD).unlink()
    with account(OTHER), pytest.raises(ArtifactError, match=f"the cached model {address} is damaged .*{RECORD}"):
        ModelCache(str(root)).fetch(copies / "copy", spec)


# --- what is no folder, and what is no file ----------------------------------------------------------


def test_the_cache_may_be_in_the_home_folder(model, spec, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    ModelCache("~/cache").store(model, spec)
    assert (tmp_path / "home" / "cache" / "models" / spec.digest()).is_dir()
    assert not (tmp_path / "~").exists()
    assert ModelCache("~/cache").fetch(tmp_path / "copy", spec)
    with pytest.raises(GudaError, match="GUDA_CACHE is '~no one/cache', but there is no such home folder"):
        ModelCache("~no one/cache")


def test_a_relative_cache_is_found_from_the_working_folder(model, spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ModelCache("cache").store(model, spec)
    assert ModelCache(str(tmp_path / "cache")).fetch(tmp_path / "copy", spec)


@pytest.mark.parametrize("put", [Path.touch, lambda path: path.symlink_to("nowhere"), os.mkfifo])
def test_a_cache_that_is_no_folder_is_said_and_stays_as_it_is(model, spec, tmp_path, capsys, put):
    put(tmp_path / "cache")
    assert not ModelCache(str(tmp_path / "cache")).fetch(tmp_path / "copy", spec)
    ModelCache(str(tmp_path / "cache")).store(model, spec)
    expected = f"not kept in the cache: [Errno 20] Not a directory: '{tmp_path / 'cache'}'\n"
    assert capsys.readouterr().err == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "model"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("put", ["pipe", "folder", "link"])
def test_what_is_no_file_of_the_models_own_is_refused(cache, model, spec, tmp_path, name, put):
    """A pipe is not waited for, and no link is followed, be its target the very file."""
    cache.store(model, spec)
    (address,) = cached(tmp_path)
    (address / name).rename(tmp_path / "elsewhere")
    make = {"pipe": os.mkfifo, "folder": Path.mkdir, "link": lambda path: path.symlink_to(tmp_path / "elsewhere")}
    make[put](address / name)
    with pytest.raises(ArtifactError, match=f"the cached model {address} is damaged .*{address / name}"):
        cache.fetch(tmp_path / "copy", spec)
    assert not (tmp_path / "copy").exists()


# --- another network with checksums that fit ---------------------------------------------------------


def refusal(cache, tmp_path, *what, **origin):
    with pytest.raises(ArtifactError, match=r"the cached model .* is damaged .*Delete that folder\.") as caught:
        cache.fetch(tmp_path / "copy", *what, **origin)
    assert not (tmp_path / "copy").exists()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def keep(cache, folder, spec, settings, tensors, parent=""):
    """A model in the cache whose config.json holds `settings`, with these tensors, and whose checksums all fit."""
    write_text(folder / CONFIG, settings if isinstance(settings, str) else json.dumps(settings))
    digest = sha256_file(folder / CONFIG)
    save_tensors(folder / WEIGHTS, tensors, spec, config_sha256=digest, parent_sha256=parent)
    write_record(folder / RECORD, spec, [folder / CONFIG, folder / WEIGHTS], seconds=1)
    cache.store(folder, spec, parent)


def of_denoiser(denoiser):
    return json.loads(denoiser.unet.to_json_string()), denoiser.unet.state_dict()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"norm_num_groups": 4}, "norm_num_groups is 4, but this model's network has 8"),  # the shapes are the same
        ({"flip_sin_to_cos": False}, "flip_sin_to_cos"),
        ({"act_fn": "gelu"}, "act_fn"),
        ({"num_class_embeds": 3}, "num_class_embeds"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type"),  # no setting of ours
        ({"down_block_types": ["NoSuchBlock", "DownBlock2D"]}, "cannot build a network from it"),
        ({"block_out_channels": ["wide"]}, "cannot build a network from it"),
        ({"sample_size": None}, "its images have channels, height and width"),
        ({"_class_name": "UNet3DModel"}, "of class 'UNet3DModel'"),
        ({"_class_name": ["UNet2DModel"]}, "of class"),
        ({"_class_name": "UNet2DConditionModel"}, ""),
        ("null", "of class None"),
        ("{", "not valid JSON"),
        ("[]", "of class None"),
    ],
)
def test_a_config_that_the_spec_does_not_ask_for_is_refused(cache, spec, denoiser, tmp_path, change, named):
    settings, tensors = of_denoiser(denoiser)
    keep(cache, tmp_path / "model", spec, change if isinstance(change, str) else settings | change, tensors)
    message = refusal(cache, tmp_path, spec)
    assert CONFIG in message and named in message


def test_a_network_of_another_recipe_or_other_images_is_refused(cache, spec, denoiser, schedule, tmp_path):
    wide = config.UNet(block_out_channels=[8, 16])
    cache.store(write_model(tmp_path / "wide", new_denoiser(wide, schedule, (1, 8, 8)), spec), spec)
    assert "block_out_channels is [8, 16], but this model's network has [8, 8]" in refusal(cache, tmp_path, spec)
    # Its size and channels are those of the images that the job has.
    other = spec.model_copy(update={"images": "others"})
    cache.store(write_model(tmp_path / "small", denoiser, other), other)
    save_tensors(tmp_path / "images", {"images": np.zeros((2, 1, 16, 8), np.uint8), "ids": np.zeros(1, np.uint8)}, spec)
    message = refusal(cache, tmp_path, other, images=str(tmp_path / "images"))
    assert "sample_size is [8, 8], but this model's network has [16, 8]" in message
    save_tensors(tmp_path / "images", {"images": np.zeros((2, 1, 8, 8), np.uint8)}, spec)
    assert cache.fetch(tmp_path / "copy", other, images=str(tmp_path / "images"))


def without_one(tensors):
    return dict(list(tensors.items())[1:])


def with_another(tensors):
    return tensors | {"other.weight": torch.zeros(2)}


def reshaped(tensors):
    return tensors | {"conv_in.bias": torch.zeros(9)}


def in_double(tensors):
    return tensors | {"conv_in.bias": tensors["conv_in.bias"].double()}


LISTS = [
    (without_one, "lacks tensor"),
    (with_another, "has an unknown tensor 'other.weight'"),
    (reshaped, "tensor 'conv_in.bias' is float32 [9], expected float32 [8]"),
    (in_double, "tensor 'conv_in.bias' is float64 [8], expected float32 [8]"),
]


@pytest.mark.parametrize(("change", "named"), LISTS)
def test_another_list_of_tensors_is_refused_in_the_cache_and_when_it_is_read(
    cache, spec, denoiser, schedule, tmp_path, change, named
):
    settings, tensors = of_denoiser(denoiser)
    keep(cache, tmp_path / "model", spec, settings, change(tensors))
    message = refusal(cache, tmp_path, spec)
    assert WEIGHTS in message and named in message
    with pytest.raises(ArtifactError, match=re.escape(f"{tmp_path / 'model' / WEIGHTS}: {named}")):
        load_denoiser(tmp_path / "model", schedule, spec.digest())


@pytest.mark.parametrize("settings", ["[]", "{}", '{"_class_name": "UNet3DModel"}', '{"_class_name": {}}'])
def test_a_model_folder_of_no_known_network_is_refused_when_it_is_read(
    cache, spec, denoiser, schedule, tmp_path, settings
):
    keep(cache, tmp_path / "model", spec, settings, of_denoiser(denoiser)[1])
    with pytest.raises(ArtifactError, match=f"{tmp_path / 'model' / CONFIG}: of class .*, expected UNet2DModel or"):
        load_denoiser(tmp_path / "model", schedule, spec.digest())


def test_an_entry_of_another_version_of_diffusers_is_taken(cache, spec, denoiser, tmp_path):
    settings, tensors = of_denoiser(denoiser)
    settings |= {"_diffusers_version": "0.1", "_name_or_path": "elsewhere"}
    del settings["downsample_type"]  # a key that it did not have yet
    keep(cache, tmp_path / "model", spec, settings, tensors)
    assert cache.fetch(tmp_path / "copy", spec)


def test_a_conditional_network_has_as_many_labels_as_groups_and_one(cache, schedule, tiny_unet, tmp_path):
    spec = specs.ConditionalSpec(
        images="i",
        members={"a": "1", "b": "2"},
        unet=tiny_unet,
        noise_schedule=config.NoiseSchedule(),
        training=config.Training(),
        label_dropout=0.1,
    )
    cache.store(write_model(tmp_path / "three", new_denoiser(tiny_unet, schedule, (1, 8, 8), 3), spec), spec)
    assert cache.fetch(tmp_path / "right", spec)
    other = spec.model_copy(update={"members": {"a": "1"}})
    cache.store(write_model(tmp_path / "more", new_denoiser(tiny_unet, schedule, (1, 8, 8), 3), other), other)
    assert "num_class_embeds is 3, but this model's network has 2" in refusal(cache, tmp_path, other)


def test_an_unlearned_model_has_the_base_models_network(cache, denoiser, schedule, tiny_unet, tmp_path):
    """Its spec names no network, but the job has the base model."""
    spec = ContinuedTrainingSpec(
        base="b", images="i", group="g", noise_schedule=config.NoiseSchedule(), settings=ContinuedSettings(seed=0)
    )
    write_model(tmp_path / "base", denoiser, spec)
    cache.store(write_model(tmp_path / "model", denoiser, spec, parent_sha256=PARENT), spec, PARENT)
    assert cache.fetch(tmp_path / "right", spec, PARENT, base=str(tmp_path / "base"))
    other = new_denoiser(tiny_unet.model_copy(update={"act_fn": "relu"}), schedule, (1, 8, 8))
    write_model(tmp_path / "base", other, spec)
    message = refusal(cache, tmp_path, spec, PARENT, base=str(tmp_path / "base"))
    assert "act_fn is 'silu', but this model's network has 'relu'" in message


@pytest.fixture
def classifier_spec(tiny_unet):
    return specs.ClassifierSpec(
        images="i",
        members={"a": "1", "b": "2"},
        unet=tiny_unet,
        noise_schedule=config.NoiseSchedule(),
        training=config.Training(),
    )


@pytest.fixture
def of_classifier(classifier_spec, tiny_unet, schedule, tmp_path):
    classifier = GroupClassifier(tiny_unet, schedule, (1, 8, 8), 2)
    save_classifier(tmp_path / "classifier", classifier, ["a", "b"], classifier_spec)
    return json.loads((tmp_path / "classifier" / CONFIG).read_text()), classifier.state_dict()


def test_a_classifier_of_its_spec_is_taken(cache, classifier_spec, of_classifier, tmp_path):
    keep(cache, tmp_path / "model", classifier_spec, *of_classifier)
    assert cache.fetch(tmp_path / "copy", classifier_spec)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"groups": ["b", "a"]}, "groups is ['b', 'a'], but this model's network has ['a', 'b']"),
        ({"image_shape": [1, 8]}, "its images have channels, height and width [1, 8]"),
        ({"unet": None}, "unet is None"),
        ({"image_shape": "small"}, "channels, height and width"),
        ("[]", "not the settings of a classifier"),
    ],
)
def test_a_classifier_of_other_groups_or_another_network_is_refused(
    cache, classifier_spec, of_classifier, schedule, tmp_path, change, named
):
    settings, tensors = of_classifier
    keep(cache, tmp_path / "model", classifier_spec, change if change == "[]" else settings | change, tensors)
    assert named in refusal(cache, tmp_path, classifier_spec)
    if "groups" not in change:  # which are as good in another order, for who has no spec
        with pytest.raises(ArtifactError, match=f"{tmp_path / 'model' / CONFIG}: cannot build a classifier from it"):
            load_classifier(tmp_path / "model", schedule, classifier_spec.digest())


def test_a_classifier_of_another_list_of_tensors_is_refused(cache, classifier_spec, of_classifier, schedule, tmp_path):
    settings, tensors = of_classifier
    keep(cache, tmp_path / "model", classifier_spec, settings, without_one(tensors))
    assert "lacks tensor" in refusal(cache, tmp_path, classifier_spec)
    with pytest.raises(ArtifactError, match=f"{tmp_path / 'model' / WEIGHTS}: lacks tensor"):
        load_classifier(tmp_path / "model", schedule, classifier_spec.digest())
