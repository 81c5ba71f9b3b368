"""Weights of others in whatever files they were saved: read as they were, or refused by file and tensor."""

import json
import os
import re
import shutil
from pathlib import Path

import diffusers
import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

from guda import config
from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.checkpoints.files import DIFFUSERS, TRANSFORMERS, Checkpoint
from guda.models.denoisers import load_imported_denoiser
from guda.models.imported import check_model, notes_of, source_digest, vision_digest
from guda.models.stable_diffusion.folder import pipeline_digest
from guda.specs import ImportedModelSpec, digest

KEY = "model.pretrained"
PROCESS = config.NoiseSchedule(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
SHARDS = "5KB"  # of a network of 40 KB: about nine


@pytest.fixture
def taken(tiny_unet):
    """A function: the weights that the job takes from a folder, with the network of `denoiser` asked for."""

    def take(folder):
        spec = ImportedModelSpec(content="c", shape=[1, 8, 8], unet=tiny_unet, noise_schedule=PROCESS)
        return load_imported_denoiser(Path(folder), spec, KEY).unet.state_dict()

    return take


@pytest.fixture
def planned(tiny_unet):
    """A function: what planning looks at in a folder."""
    return lambda folder: check_model(Path(folder), tiny_unet, PROCESS, (1, 8, 8), KEY)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def rewrite(file, change):
    """Change the tensors in a file by a function of their mapping."""
    tensors = load_file(file)
    changed = change(tensors)
    save_file(tensors if changed is None else changed, file)


def edit(file, change):
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


# --- variants and shards -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{"variant": "fp16"}, {"max_shard_size": SHARDS}, {"variant": "bf16", "max_shard_size": SHARDS}],
    ids=str,
)
def test_what_save_pretrained_writes_is_read(denoiser, taken, planned, tmp_path, arguments):
    expected = {name: tensor.half().float() for name, tensor in denoiser.unet.state_dict().items()}
    denoiser.unet.half().save_pretrained(tmp_path, **arguments)
    assert not (tmp_path / WEIGHTS).exists()
    planned(tmp_path)
    assert_equal(taken(tmp_path), expected)
    variant = arguments.get("variant")
    said = [f"{KEY}: {tmp_path} has weights only as the variant {variant}; it is used, in float32."]
    assert notes_of(str(tmp_path), KEY) == (said if variant else [])


def test_shards_that_older_versions_of_diffusers_wrote_are_read(denoiser, taken, tmp_path):
    """The variant stood after the number."""
    expected = {name: tensor.clone() for name, tensor in denoiser.unet.state_dict().items()}
    denoiser.unet.save_pretrained(tmp_path, variant="fp16", max_shard_size=SHARDS)
    for file in tmp_path.glob("*.fp16-*"):
        name = re.sub(r"\.fp16(-\d+-of-\d+)", r"\1.fp16", file.name)
        file.rename(tmp_path / name)
        index = tmp_path / f"{WEIGHTS}.index.fp16.json"
        index.write_text(index.read_text().replace(file.name, name))
    assert_equal(taken(tmp_path), expected)


def test_whole_weights_come_first_and_give_the_digest_that_they_gave(denoiser, taken, tmp_path):
    """Digests stand in specs: whatever lies beside, that of config.json and the weights stays."""
    denoiser.unet.save_pretrained(tmp_path / "whole")
    files = [tmp_path / "whole" / name for name in (CONFIG, WEIGHTS)]
    before = digest(" ".join(map(sha256_file, files)))
    expected = {name: tensor.clone() for name, tensor in denoiser.unet.state_dict().items()}
    with torch.no_grad():
        denoiser.unet.conv_in.bias.add_(1)
    for arguments in ({"variant": "fp16"}, {"max_shard_size": SHARDS}):
        denoiser.unet.save_pretrained(tmp_path / "other", **arguments)
        for file in (tmp_path / "other").glob(f"{DIFFUSERS}*"):
            shutil.copy(file, tmp_path / "whole")
    assert source_digest(str(tmp_path / "whole"), KEY) == before
    assert_equal(taken(tmp_path / "whole"), expected)
    assert notes_of(str(tmp_path / "whole"), KEY) == []


def test_the_digest_of_shards_is_of_all_of_them(denoiser, tmp_path):
    denoiser.unet.save_pretrained(tmp_path, max_shard_size=SHARDS)
    digests = {source_digest(str(tmp_path), KEY)}
    for file in sorted(tmp_path.glob("*.safetensors")):
        rewrite(file, lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
        digests.add(source_digest(str(tmp_path), KEY))
    assert len(digests) == 1 + len(list(tmp_path.glob("*.safetensors"))) > 3


def test_several_variants_and_no_whole_weights_are_refused(denoiser, planned, tmp_path):
    for variant in ("fp16", "non_ema"):
        denoiser.unet.save_pretrained(tmp_path, variant=variant)
    with pytest.raises(ArtifactError, match=rf"has no {WEIGHTS}, but several variants of it \(fp16, non_ema\); keep"):
        planned(tmp_path)


@pytest.fixture
def shards(denoiser, tmp_path):
    denoiser.unet.save_pretrained(tmp_path / "shards", max_shard_size=SHARDS)
    return tmp_path / "shards"


INDEX = f"{WEIGHTS}.index.json"


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/tmp/x.safetensors", "a/x.safetensors", "..", "x.bin", "", "a\nb"]
)
def test_an_index_that_names_files_elsewhere_is_refused(shards, planned, taken, name):
    save_file({"conv_in.bias": torch.zeros(8)}, shards.parent / "x.safetensors")
    edit(shards / INDEX, lambda values: values["weight_map"].update({"conv_in.bias": name}))
    for use in (planned, taken, lambda folder: source_digest(str(folder), KEY)):
        with pytest.raises(ArtifactError, match=rf"{INDEX} names the file {re.escape(repr(name))}; only safetensors"):
            use(shards)


def first(shards):
    return sorted(shards.glob("*.safetensors"))[0]


def twice(shards):
    """A tensor of the first shard is in the last one, too."""
    rewrite(sorted(shards.glob("*.safetensors"))[-1], lambda tensors: tensors | {"conv_in.bias": torch.zeros(8)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shards: first(shards).unlink(), f"{INDEX} names {DIFFUSERS}-00001-of-.*, which is missing; copy all"),
        (lambda shards: (shards / INDEX).unlink(), f"-00001-of-.* is a part of it, but without {INDEX}; copy all"),
        (lambda shards: (shards / INDEX).write_text("{}"), f"{INDEX} has no weight_map"),
        (lambda shards: (shards / INDEX).write_text('{"weight_map": {"a": 1}}'), f"{INDEX} has no weight_map"),
        (lambda shards: (shards / INDEX).write_text("[]"), f"{INDEX} is not a configuration of diffusers"),
        (
            lambda shards: first(shards).write_bytes(first(shards).read_bytes()[:-1]),
            "is not a readable safetensors file",
        ),
        (
            lambda shards: edit(shards / INDEX, lambda values: values["weight_map"].update(x=first(shards).name)),
            f"{INDEX} has tensor 'x' in {DIFFUSERS}-00001-of-.*, which lacks it",
        ),
        (
            lambda shards: rewrite(first(shards), lambda tensors: tensors | {"x": torch.zeros(1)}),
            f"tensor 'x' is not where {INDEX} has it",
        ),
        (twice, f"tensor 'conv_in.bias' is not where {INDEX} has it"),
    ],
    ids=["no shard", "no index", "empty index", "numbers", "list", "half a shard", "promised", "unlisted", "twice"],
)
def test_shards_that_do_not_fit_are_refused_when_planning(shards, planned, change, message):
    change(shards)
    with pytest.raises(ArtifactError, match=rf"^{KEY}: .*{message}") as caught:
        planned(shards)
    assert "\n" not in str(caught.value)


# --- types and values --------------------------------------------------------------------------------


@pytest.fixture
def foreign(denoiser, tmp_path):
    denoiser.unet.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.int8, "I8"),
        (torch.uint8, "U8"),
        (torch.bool, "BOOL"),
        (torch.complex64, "C64"),
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
        (torch.int64, "I64"),
    ],
    ids=str,
)
def test_weights_of_other_types_are_refused_when_planning(foreign, planned, dtype, name):
    rewrite(foreign / WEIGHTS, lambda tensors: tensors.update({"conv_in.bias": torch.zeros(8).to(dtype)}))
    message = rf"^{KEY}: {foreign / WEIGHTS}: tensor 'conv_in.bias' is of type {name}, .* save the model unquantized"
    with pytest.raises(ArtifactError, match=message):
        planned(foreign)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_floats_of_other_widths_become_float32(foreign, taken, dtype):
    expected = {name: tensor.to(dtype).float() for name, tensor in load_file(foreign / WEIGHTS).items()}
    rewrite(foreign / WEIGHTS, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    assert_equal(taken(foreign), expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor(1e39, dtype=torch.float64), "holds values beyond the range of float32"),
        (torch.tensor(torch.inf, dtype=torch.float64), "holds values that are not finite"),
        (torch.tensor(torch.nan, dtype=torch.bfloat16), "holds values that are not finite"),
        (torch.tensor(torch.inf, dtype=torch.float16), "holds values that are not finite"),
    ],
    ids=str,
)
def test_values_that_float32_cannot_hold_are_refused_by_the_job(foreign, planned, taken, value, message):
    rewrite(foreign / WEIGHTS, lambda tensors: tensors.update({"conv_in.bias": value.repeat(8)}))
    planned(foreign)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / WEIGHTS}: tensor 'conv_in.bias' {message}"):
        taken(foreign)


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_what_compiling_and_parallel_training_put_before_names_is_taken_off(foreign, planned, taken, prefix):
    expected = load_file(foreign / WEIGHTS)
    rewrite(foreign / WEIGHTS, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    planned(foreign)
    assert_equal(taken(foreign), expected)


def test_names_of_compiled_parts_and_of_transformers():
    of_diffusers, of_transformers = (Checkpoint(stem, Path(), []) for stem in (DIFFUSERS, TRANSFORMERS))
    assert of_diffusers.current_name("down_blocks.0._orig_mod.conv.weight") == "down_blocks.0.conv.weight"
    assert of_diffusers.current_name("a.attentions.0.query.weight") == "a.attentions.0.to_q.weight"
    assert of_transformers.current_name("module.a.query.weight") == "a.query.weight"


def test_a_tensor_under_two_names_is_refused(foreign, planned):
    rewrite(foreign / WEIGHTS, lambda tensors: tensors.update({"module.conv_in.bias": torch.zeros(8)}))
    with pytest.raises(ArtifactError, match=r"conv_in\.bias' occurs twice"):
        planned(foreign)


# --- averaged weights --------------------------------------------------------------------------------


def test_averaged_weights_come_first_and_that_is_said(denoiser, taken, tmp_path):
    denoiser.unet.save_pretrained(tmp_path / "unet")
    of_unet = source_digest(str(tmp_path), KEY)
    assert notes_of(str(tmp_path), KEY) == []
    with torch.no_grad():
        denoiser.unet.conv_in.bias.add_(1)
    denoiser.unet.save_pretrained(tmp_path / "unet_ema")
    edit(tmp_path / "unet_ema" / CONFIG, lambda values: values.update(decay=0.9999, optimization_step=3))
    assert_equal(taken(tmp_path), denoiser.unet.state_dict())
    assert source_digest(str(tmp_path), KEY) != of_unet
    said = [f"{KEY}: {tmp_path} is read with the averaged weights in unet_ema, not those in unet."]
    assert notes_of(str(tmp_path), KEY) == said
    shutil.rmtree(tmp_path / "unet")
    assert_equal(taken(tmp_path), denoiser.unet.state_dict())
    assert notes_of(str(tmp_path), KEY) == []


# --- what is no folder, and no file ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my.safetensors", "my.ckpt", "my.pt", "my.bin"])
def test_one_file_is_answered_with_how_to_make_a_folder(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"anything")
    of = {source_digest: "UNet2DModel", pipeline_digest: "StableDiffusionPipeline", vision_digest: "AutoModel"}
    for digest_of, kind in of.items():
        with pytest.raises(
            ConfigError, match=f"^a.key: '{file}' is a file, but a folder is needed; .*{kind}"
        ) as caught:
            digest_of(str(file), "a.key")
        assert "\n" not in str(caught.value)
        assert ("if you trust" in str(caught.value)) == (file.suffix != ".safetensors")


def test_one_file_in_a_folder_of_its_own_is_answered_alike(tmp_path):
    (tmp_path / "v1-5.ckpt").write_bytes(b"anything")
    for digest_of in (source_digest, pipeline_digest, vision_digest):
        with pytest.raises(ConfigError, match=f"^a.key: '{tmp_path / 'v1-5.ckpt'}' is a file, but a folder is needed"):
            digest_of(str(tmp_path), "a.key")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_steps_that_make_a_folder_of_one_file_work(denoiser, taken, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    weights = denoiser.unet.state_dict()
    (save_file if suffix == ".safetensors" else torch.save)(weights, tmp_path / f"my{suffix}")
    with pytest.raises(ConfigError) as caught:
        source_digest(f"my{suffix}", KEY)
    _, steps = str(caught.value).split(": ", 2)[1:]
    steps = steps.partition(": ")[2] or steps
    steps = steps.replace("(...), with the arguments it was trained with", ".from_config(settings)")
    names = {"diffusers": diffusers, "torch": torch, "safetensors": safetensors, "settings": dict(denoiser.unet.config)}
    exec(steps, names)
    assert_equal(taken("my"), weights)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_pipes_and_folders_in_place_of_files_are_refused(foreign, planned, name, make):
    file = foreign / name
    file.unlink(missing_ok=True)
    file.parent.mkdir(exist_ok=True)
    make(file)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file} .*(not a regular file|Is a directory)"):
        planned(foreign)


UNREADABLE = {"deep": "[" * 100_000, "huge": '{"a": ' + "9" * 5000 + "}", "half": "{", "bytes": "\udcff"}


@pytest.mark.parametrize("name", [CONFIG, "scheduler/scheduler_config.json", "model_index.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{", "\udcff"], ids=["deep", "huge", "half", "bytes"]
)
def test_json_that_cannot_be_read_is_refused(foreign, planned, name, text):
    file = foreign / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(
        ArtifactError, match=f"^{KEY}: {file} is not a configuration of diffusers or transformers: "
    ) as caught:
        planned(foreign)
    assert "\n" not in str(caught.value)
