"""Models that others trained: found, pinned, compared with the configuration, refused with a reason."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, ScoreSdeVeScheduler
from refusals import sections_to_write
from safetensors.torch import load_file, save_file

from guda import config
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.denoisers import load_imported_denoiser
from guda.models.imported import fetched, source_digest
from guda.specs import ImportedModelSpec

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
KEY = "model.pretrained"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
COSINE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}


@pytest.fixture
def foreign(tmp_path, denoiser):
    """A folder that diffusers wrote."""
    denoiser.unet.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


@pytest.fixture
def import_from(tiny_unet):
    """A function: what is read from a folder, with the network of `denoiser` asked for, but for the changes."""

    def read(folder, unet=tiny_unet, shape=(1, 8, 8), **schedule):
        process = config.NoiseSchedule(**schedule)
        spec = ImportedModelSpec(content="c", shape=list(shape), unet=unet, noise_schedule=process)
        return load_imported_denoiser(folder, spec, KEY)

    return read


def edit(file, **changes):
    """Change keys of a JSON file; None takes a key out."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def rewrite(folder, change):
    """Change the tensors in a folder's weights by a function of their mapping."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def same_weights(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# --- what a source is --------------------------------------------------------------------------------


def test_the_digest_of_a_folder_is_of_its_two_files(foreign, tmp_path):
    before = source_digest(str(foreign), KEY)
    shutil.copytree(foreign, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "README.md").write_text("notes")
    assert source_digest(str(tmp_path / "elsewhere"), KEY) == before

    edit(foreign / CONFIG, norm_eps=1e-6)
    of_config = source_digest(str(foreign), KEY)
    rewrite(foreign, lambda tensors: tensors["conv_in.bias"].add_(1))
    assert len({before, of_config, source_digest(str(foreign), KEY)}) == 3


def test_the_digest_of_a_pipeline_is_that_of_its_network(foreign, tmp_path):
    (tmp_path / "pipeline" / "scheduler").mkdir(parents=True)
    shutil.copytree(foreign, tmp_path / "pipeline" / "unet")
    assert source_digest(str(tmp_path / "pipeline"), KEY) == source_digest(str(foreign), KEY)


def test_the_digest_of_a_hub_id_is_of_its_name_and_commit():
    # echo -n someone/model@COMMIT | sha256sum | cut -c -20
    assert source_digest(f"someone/model@{COMMIT}", KEY) == "71c61c135b3c73402ff9"
    others = [f"someone/other@{COMMIT}", f"someone/model@{COMMIT[::-1]}"]
    assert len({source_digest(source, KEY) for source in [f"someone/model@{COMMIT}", *others]}) == 3


@pytest.mark.parametrize(
    "source",
    [
        "someone/model",
        "someone/model@main",
        f"someone/model@{COMMIT[:-1]}",
        f"someone/model@{COMMIT}0",
        f"someone/model@{COMMIT.upper()}",
        f"model@{COMMIT}",
        f"https://huggingface.co/someone/model@{COMMIT}",
        "no/such/folder",
        "",
    ],
)
def test_what_is_neither_a_folder_nor_pinned_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        source_digest(source, KEY)
    message = f"{KEY}: {source!r} is neither a folder nor a hub id of the form OWNER/NAME@COMMIT (40 hex digits"
    assert message in str(caught.value)


def test_a_folder_is_fetched_as_it_is(tmp_path):
    assert fetched(str(tmp_path), KEY) == tmp_path


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(foreign, name):
    (foreign / name).unlink()
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign} has no {name}"):
        source_digest(str(foreign), KEY)


def test_weights_to_unpickle_are_refused_with_advice(foreign, import_from):
    (foreign / WEIGHTS).unlink()
    torch.save({}, foreign / "diffusion_pytorch_model.bin")
    for use in (lambda: source_digest(str(foreign), KEY), lambda: import_from(foreign)):
        with pytest.raises(ArtifactError, match=f"{foreign} has no {WEIGHTS}; diffusion_pytorch_model.bin would have"):
            use()
        with pytest.raises(ArtifactError, match=r"save it with save_pretrained\(..., safe_serialization=True\)"):
            use()


# --- what is read ------------------------------------------------------------------------------------


def test_a_folder_of_diffusers_gives_its_weights(foreign, denoiser, import_from):
    imported = import_from(foreign)
    assert same_weights(imported, denoiser)
    assert not imported.training


@pytest.mark.parametrize(
    "changes",
    [{"_diffusers_version": "0.30.0"}, {"sample_size": 8}, {"_name_or_path": "me/x"}, {"dropout": None}],
    ids=str,
)
def test_what_computes_the_same_is_accepted(foreign, denoiser, import_from, changes):
    edit(foreign / CONFIG, **changes)
    assert same_weights(import_from(foreign), denoiser)


def test_a_network_without_a_sample_size_is_accepted(foreign, denoiser, import_from):
    (foreign / CONFIG).write_text((foreign / CONFIG).read_text().replace('"sample_size": [', '"ignored": ['))
    imported = import_from(foreign)
    assert same_weights(imported, denoiser)
    assert imported.image_shape == (1, 8, 8)


def test_half_precision_becomes_float32(foreign, denoiser, import_from):
    denoiser.unet.half().save_pretrained(foreign)
    imported = import_from(foreign)
    assert {tensor.dtype for tensor in imported.unet.state_dict().values()} == {torch.float32}
    assert same_weights(imported, denoiser.float())


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        ({"norm_num_groups": 4}, {"unet": {"norm_num_groups": 4}}),
        (  # 32 is diffusers' default
            {"block_out_channels": [32, 64], "norm_num_groups": None},
            {"unet": {"block_out_channels": [32, 64], "norm_num_groups": 32}},
        ),
        ({"act_fn": "gelu", "dropout": 0.5}, {"unet": {"act_fn": "gelu", "dropout": 0.5}}),
        (
            {"block_out_channels": [8, 16], "norm_eps": 1e-6},
            {"unet": {"block_out_channels": [8, 16], "norm_eps": 1e-6}},
        ),
        ({"sample_size": 16}, {"data": {"size": [16, 16]}}),
        ({"in_channels": 3, "out_channels": 3}, {"data": {"channels": 3}}),
        ({"in_channels": 3, "out_channels": 6}, {"data": {"channels": 3}, "unet": {"learned_variance": True}}),
        ({"out_channels": 2, "freq_shift": 1}, {"unet": {"freq_shift": 1, "learned_variance": True}}),
    ],
)
def test_another_architecture_is_answered_with_the_sections_to_write(foreign, import_from, changes, sections):
    edit(foreign / CONFIG, **changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign} has") as caught:
        import_from(foreign)
    assert sections_to_write(caught.value, KEY) == sections


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_class_name", "UNet2DConditionModel"),
        ("time_embedding_type", "fourier"),
        ("class_embed_type", "timestep"),
        ("num_class_embeds", 10),
    ],
)
def test_a_network_of_another_family_is_refused_by_the_key_that_says_so(foreign, import_from, name, value):
    edit(foreign / CONFIG, **{name: value})
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / CONFIG} has {name} {value!r}, but only .* supported$"):
        import_from(foreign)


def test_output_channels_that_are_neither_noise_nor_noise_and_variance_are_refused(tiny_unet, foreign, import_from):
    edit(foreign / CONFIG, out_channels=3)
    learned = tiny_unet.model_copy(update={"learned_variance": True})
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / CONFIG} has out_channels 3, but only 2 is supported$"):
        import_from(foreign, unet=learned)


@pytest.mark.parametrize("text", ["null", "[]", "3"])
def test_a_config_that_is_no_mapping_is_refused(foreign, import_from, text):
    (foreign / CONFIG).write_text(text)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign}/config.json is not a configuration of diffusers"):
        import_from(foreign)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("conv_in.bias"),
            "lacks tensor 'conv_in.bias', which config.json beside it requires",
        ),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has an unknown tensor 'extra'"),
        (
            lambda tensors: tensors.update({"conv_in.bias": torch.zeros(8, 1)}),
            r"tensor 'conv_in.bias' has shape \[8, 1\], expected \[8\] by config.json",
        ),
        (
            lambda tensors: tensors["conv_out.weight"].view(-1)[5].fill_(torch.nan),
            "tensor 'conv_out.weight' holds values that are not finite",
        ),
        (
            lambda tensors: tensors["conv_in.bias"][0].fill_(torch.inf),
            "tensor 'conv_in.bias' holds values that are not finite",
        ),
    ],
    ids=["missing", "extra", "wrong shape", "NaN", "infinite"],
)
def test_tensors_that_do_not_fit_are_named(foreign, import_from, change, message):
    rewrite(foreign, change)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / WEIGHTS}:? {message}$"):
        import_from(foreign)


@pytest.mark.parametrize("length", [0, 100, -1])
def test_truncated_weights_are_refused(foreign, import_from, length):
    (foreign / WEIGHTS).write_bytes((foreign / WEIGHTS).read_bytes()[:length])
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / WEIGHTS} is not a readable safetensors file"):
        import_from(foreign)


# --- whole pipelines, and the hub --------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path, denoiser):
    """A pipeline that diffusers wrote; call it with a scheduler."""

    def write(scheduler):
        DDPMPipeline(denoiser.unet, scheduler).save_pretrained(tmp_path / "pipeline")
        return tmp_path / "pipeline"

    return write


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
def test_a_whole_pipeline_is_accepted(pipeline, denoiser, import_from, scheduler):
    folder = pipeline(scheduler(**COSINE))
    assert sorted(path.name for path in folder.iterdir()) == ["model_index.json", "scheduler", "unet"]
    assert same_weights(import_from(folder), denoiser)


def test_a_pipeline_of_a_linear_schedule_is_accepted(pipeline, denoiser, import_from):
    assert same_weights(import_from(pipeline(DDPMScheduler()), beta_schedule="linear"), denoiser)


@pytest.mark.parametrize(
    ("of_pipeline", "asked_for", "settings"),
    [
        (COSINE | {"num_train_timesteps": 500}, {}, {"num_train_timesteps": 500}),
        ({"beta_end": 0.012}, {}, {"beta_schedule": "linear", "beta_end": 0.012}),
        (COSINE, {"prediction_type": "v_prediction"}, {"prediction_type": "epsilon"}),
        ({"beta_start": 0.00085}, {"beta_schedule": "linear"}, {"beta_start": 0.00085}),
        ({}, {"beta_schedule": "linear", "beta_end": 0.03}, {"beta_end": 0.02}),
    ],
)
@pytest.mark.parametrize("beside", [False, True], ids=["in its folder", "beside the network"])
def test_another_noise_schedule_is_answered_with_the_section_to_write(
    pipeline, import_from, of_pipeline, asked_for, settings, beside
):
    folder = pipeline(DDPMScheduler(**of_pipeline))
    if beside:
        (folder / "scheduler" / "scheduler_config.json").rename(folder / "scheduler_config.json")
    with pytest.raises(ArtifactError) as caught:
        import_from(folder, **asked_for)
    assert sections_to_write(caught.value, KEY) == {"noise_schedule": settings}


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (DDPMScheduler(num_train_timesteps=1, trained_betas=[0.1]), r"has trained_betas \[0.1\], but only None or"),
        (DDIMScheduler(rescale_betas_zero_snr=True), "has rescale_betas_zero_snr True, but only False is supported$"),
        (DPMSolverMultistepScheduler(use_flow_sigmas=True), "has use_flow_sigmas True, but only False is supported$"),
        (ScoreSdeVeScheduler(), "has no beta_schedule; only processes defined by betas are supported$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_noise_schedule_expresses_is_refused_by_name(pipeline, import_from, scheduler, message):
    folder = pipeline(scheduler)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}/scheduler/scheduler_config.json {message}"):
        import_from(folder)


FETCH = f"""
import sys
from guda.core.errors import ArtifactError
from guda.models.imported import fetched
for source in sys.argv[1:]:
    try:
        print(fetched(source, "{KEY}"))
    except ArtifactError as error:
        print(error)
"""


def test_a_pinned_hub_id_is_found_offline_in_the_hubs_own_cache(foreign, denoiser, import_from, tmp_path):
    """In a process of its own: the hub reads its settings when it is imported."""
    snapshot = tmp_path / "models--someone--model" / "snapshots" / COMMIT
    shutil.copytree(foreign, snapshot / "unet")
    (tmp_path / "models--someone--model" / "refs").mkdir()
    (tmp_path / "models--someone--model" / "refs" / "main").write_text(COMMIT)

    settings = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(SCRIPTS)}
    absent = [f"someone/other@{COMMIT}", f"someone/model@{COMMIT[::-1]}"]
    call = [sys.executable, "-c", FETCH, f"someone/model@{COMMIT}", *absent]
    done = subprocess.run(call, env=os.environ | settings, capture_output=True, text=True, check=False)
    folder, *refused = done.stdout.splitlines()
    assert Path(folder) == snapshot, done.stderr
    assert [line.split(" (")[0] for line in refused] == [f"{KEY}: {source} cannot be downloaded" for source in absent]
    assert same_weights(import_from(Path(folder)), denoiser)
