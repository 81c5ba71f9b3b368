"""Pipelines of text-to-image models: read, refused, encoded with, written."""

import dataclasses
import functools
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from pipelines import PROCESS, TEXTS, AnySpec, new_pipeline, write_pipeline
from refusals import sections_to_write
from safetensors.torch import load_file, save_file
from text_experiments import text_experiment

from guda import config
from guda.core.artifacts import sha256_file
from guda.core.errors import ArtifactError, ConfigError
from guda.core.paths import WEIGHTS
from guda.core.seeding import derive_seed, gaussian
from guda.models.denoisers import load_pretrained_unet
from guda.models.imported import check_process
from guda.models.noise_schedule import NoiseSchedule, betas_of, scheduler_settings
from guda.models.stable_diffusion.encoder_health import LOST, complaints
from guda.models.stable_diffusion.encoder_measures import pixels_lost, prompts_differ
from guda.models.stable_diffusion.folder import NETWORKS, check_pipeline, pipeline_digest, pipeline_notes
from guda.models.stable_diffusion.pipeline import (
    decode_latents,
    encode_latents,
    encode_prompts,
    load_pipeline,
    opened_pipeline,
    save_pipeline,
)
from guda.models.stable_diffusion.tokenizer import merges_of
from guda.specs import digest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow_scripts"
KEY = "text_to_image.pipeline"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROCESS_SETTINGS = {"beta_schedule", "beta_start", "beta_end"}  # in which PROCESS is not the default
IDS = [f"i{index}" for index in range(6)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipelines") / "pipeline")


@pytest.fixture(scope="module")
def pipeline(written):
    return load_pipeline(written, KEY)


@pytest.fixture
def folder(written, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "pipeline"))


@pytest.fixture
def pictures():
    return torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# --- health ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_weights_that_are_not_finite_are_refused(folder, part):
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    name = sorted(tensors)[0]
    tensors[name] = torch.full_like(tensors[name], torch.inf)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=rf"{KEY}: .*{part}.*: tensor .* holds values that are not finite"):
        load_pipeline(folder, KEY)


def overflowing(network):
    """The network with finite weights that are far too large."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1e30)
    return network


def test_what_is_encoded_and_is_not_finite_is_refused(pictures):
    pipeline, _ = new_pipeline()
    overflowing(pipeline.vae)
    with pytest.raises(FloatingPointError, match="the autoencoder gives values that are not finite for 'i0'"):
        encode_latents(pipeline.vae, pictures, IDS, "mean", 0, 2)
    with pytest.raises(FloatingPointError, match="the autoencoder gives values that are not finite for 'image 0'"):
        decode_latents(pipeline.vae, torch.ones(1, 4, 8, 8), 2)
    overflowing(pipeline.text_encoder)
    with pytest.raises(FloatingPointError, match=f"the text encoder gives .* not finite for {TEXTS[0]!r}"):
        encode_prompts(pipeline, TEXTS, 2)


def test_what_a_gray_image_loses_by_hand():
    """A decoder of zeros is wrong by x^2. White above, black below: x is 1 or -1, around a mean of 0, so all is lost.

    Three quarters white: a mean of 1/2, around which the variance is 3/4 of x^2. Of one color, 128 or x = 1/255, there
    is no variance; in its place stands the square of the least difference of two pixels, 2/255.
    """
    pipeline, _ = new_pipeline()
    with torch.no_grad():
        for weight in pipeline.vae.decoder.conv_out.parameters():
            weight.zero_()
    pictures = torch.zeros(40, 3, 16, 16, dtype=torch.uint8)
    for rows, lost in [(8, 1), (12, 4 / 3)]:
        pictures[:, :, :rows] = 255
        assert pixels_lost(pipeline.vae, pictures) == pytest.approx(lost, rel=1e-5)
    assert pixels_lost(pipeline.vae, torch.full_like(pictures, 128)) == pytest.approx(1 / 4, rel=1e-3)
    with pytest.raises(FloatingPointError, match="autoencoder does not decode to finite values"):
        pixels_lost(overflowing(pipeline.vae), pictures)
    (text,) = complaints({"pixels_lost": LOST, "prompts_differ": 0.2})
    assert text.startswith("the pipeline's autoencoder loses")


def test_how_prompts_differ_by_hand():
    # Mean (1/2, 1/2): squared distances 1/2 + 1/2 over squares 1 + 1.
    assert prompts_differ(torch.eye(2)) == pytest.approx(1 / 2)
    assert prompts_differ(torch.ones(3, 2)) == 0
    assert prompts_differ(torch.zeros(3, 2)) == 0
    assert prompts_differ(torch.ones(1, 2)) is None
    (text,) = complaints({"prompts_differ": 0.0})
    assert text.startswith("the pipeline's text encoder hardly distinguishes prompts")
    assert complaints({}) == complaints({"pixels_lost": 0.1, "prompts_differ": 0.2}) == []


# --- reading -----------------------------------------------------------------------------------------


def test_a_written_pipeline_is_read_as_it_was(pipeline):
    made, _ = new_pipeline()
    for part in ("vae", "text_encoder"):
        expected, found = getattr(made, part).state_dict(), getattr(pipeline, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert pipeline.tokenizer(TEXTS)["input_ids"] == made.tokenizer(TEXTS)["input_ids"]
    assert (pipeline.prompt_length, pipeline.scheduler["beta_end"]) == (8, 0.012)
    assert not pipeline.vae.training and not pipeline.text_encoder.training


def test_the_unet_of_a_written_pipeline_is_read_as_any_other(written):
    _, unet = new_pipeline()
    found = load_pretrained_unet(written, NoiseSchedule.from_config(PROCESS), KEY)
    assert found.image_shape == (4, 8, 8)
    assert all(torch.equal(tensor, found.unet.state_dict()[name]) for name, tensor in unet.state_dict().items())


def test_weights_under_the_names_of_older_versions_are_read(folder, pipeline):
    """Those of Stable Diffusion 1.5: other names in the autoencoder's attention, a prefix and positions in the text."""
    vae, text = folder / "vae" / WEIGHTS, folder / "text_encoder" / "model.safetensors"
    old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    names = {new: functools.reduce(lambda name, pair: name.replace(*pair), old.items(), new) for new in load_file(vae)}
    assert sum(new != name for new, name in names.items()) == 16
    save_file({names[new]: tensor for new, tensor in load_file(vae).items()}, vae, {"format": "pt"})
    states = {f"text_model.{name}": tensor for name, tensor in load_file(text).items()}
    save_file(states | {"text_model.embeddings.position_ids": torch.arange(8)[None]}, text, {"format": "pt"})
    found = load_pipeline(folder, KEY)
    for part in ("vae", "text_encoder"):
        expected = getattr(pipeline, part).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in getattr(found, part).state_dict().items())


def test_the_same_pipeline_is_written_as_the_same_bytes(written, tmp_path):
    again = write_pipeline(tmp_path / "again")
    names = sorted(str(file.relative_to(written)) for file in written.rglob("*") if file.is_file())
    assert names == sorted(str(file.relative_to(again)) for file in again.rglob("*") if file.is_file())
    assert all((written / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_diffusers_opens_a_written_pipeline_and_generates(written):
    """In a process that has used guda's own networks before, as a notebook does."""
    code = (
        "import torch\nfrom pathlib import Path\nfrom guda import config\n"
        "from guda.models.denoisers import load_pretrained_unet\n"
        "from guda.models.noise_schedule import NoiseSchedule\n"
        "from guda.models.stable_diffusion.pipeline import load_pipeline\n"
        f"load_pipeline(Path({str(written)!r}), {KEY!r})\n"
        "schedule = NoiseSchedule.from_config(config.NoiseSchedule())\n"
        f"denoiser = load_pretrained_unet(Path({str(written)!r}), schedule, {KEY!r})\n"
        "x, told = torch.randn(1, *denoiser.image_shape), torch.zeros(1, 8, 16)\n"
        "denoiser.predict_noise(x, torch.tensor([500]), told)\n"
        "from diffusers import StableDiffusionPipeline\n"
        f"pipeline = StableDiffusionPipeline.from_pretrained({str(written)!r}, safety_checker=None)\n"
        "generator = torch.Generator().manual_seed(0)\n"
        "images = pipeline('a digit', num_inference_steps=3, output_type='np', generator=generator).images\n"
        "print(images.shape, images.std() > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 16, 16, 3) True\n", done.stderr


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_by_name(folder, missing):
    (folder / missing).unlink()
    for read in (load_pipeline, lambda folder, key: pipeline_digest(str(folder), key)):
        with pytest.raises(ArtifactError, match=rf"{KEY}: .* {Path(missing).name}"):
            read(folder, KEY)


def test_weights_that_would_have_to_be_unpickled_are_refused(folder):
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"no model\.safetensors; pytorch_model\.bin would have to be unpickled"):
        load_pipeline(folder, KEY)


def test_other_kinds_of_pipelines_are_refused(folder):
    edit(folder / "model_index.json", text_encoder=["transformers", "T5EncoderModel"])
    with pytest.raises(ArtifactError, match="text_encoder T5EncoderModel, but only CLIPTextModel is supported"):
        load_pipeline(folder, KEY)
    edit(
        folder / "model_index.json", text_encoder=["transformers", "CLIPTextModel"], _class_name="StableUnCLIPPipeline"
    )
    with pytest.raises(ArtifactError, match="is of StableUnCLIPPipeline, but only StableDiffusionPipeline"):
        load_pipeline(folder, KEY)


def test_a_part_that_is_not_what_the_index_says_is_refused(folder):
    shutil.copy(folder / "unet" / "config.json", folder / "vae" / "config.json")
    with pytest.raises(ArtifactError, match=r"has _class_name .*, but only 'AutoencoderKL' is supported as vae"):
        load_pipeline(folder, KEY)


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_weights_that_lack_a_tensor_are_refused(folder, part):
    file = next((folder / part).glob("*.safetensors"))
    tensors = load_file(file)
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file} lacks tensor {name!r}"):
        load_pipeline(folder, KEY)


def test_damaged_weights_are_refused(folder):
    for part in ("vae", "text_encoder"):
        next((folder / part).glob("*.safetensors")).write_bytes(b"damaged")
        with pytest.raises(ArtifactError, match=f"^{KEY}: .*/{part}/.* is not a readable safetensors file"):
            load_pipeline(folder, KEY)
        shutil.rmtree(folder)
        write_pipeline(folder)


def test_the_digest_is_of_all_that_numbers_depend_on(folder, written):
    before = pipeline_digest(str(written), KEY)
    (folder / "README.md").write_text("notes")
    assert pipeline_digest(str(folder), KEY) == before
    digests = {before}
    for file in sorted(folder.rglob("*.json")):
        file.write_text(file.read_text() + "\n")
        digests.add(pipeline_digest(str(folder), KEY))
    assert len(digests) == 1 + 7  # index, three networks, scheduler, vocabulary, tokenizer's settings


def test_the_digest_of_whole_parts_is_what_it_was(written):
    """It stands in the specs of results."""
    parts = [f"{part}/{name}" for part, weights in NETWORKS.items() for name in ("config.json", weights)]
    tokenizer = [f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json")]
    names = ["model_index.json", *parts, "scheduler/scheduler_config.json", *tokenizer]
    assert [name.split("/")[0] for name in parts] == ["unet", "unet", "vae", "vae", "text_encoder", "text_encoder"]
    assert pipeline_digest(str(written), KEY) == digest(" ".join(sha256_file(written / name) for name in names))


def test_a_hub_id_is_known_by_its_name_and_commit():
    # echo -n someone/model@COMMIT | sha256sum | cut -c -20
    assert pipeline_digest(f"someone/model@{COMMIT}", KEY) == "71c61c135b3c73402ff9"
    with pytest.raises(ConfigError, match=rf"{KEY}: 'someone/model' is neither a folder nor"):
        pipeline_digest("someone/model", KEY)


# --- whole, halved, in parts: all networks in one way ------------------------------------------------


def saved_again(folder, part, **arguments):
    """A part's network, saved by its own library in half precision; its weights before, rounded to that."""
    from transformers import CLIPTextModel

    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    network = kinds.get(part, CLIPTextModel).from_pretrained(folder / part).half()
    next((folder / part).glob("*.safetensors")).unlink()
    network.save_pretrained(folder / part, **arguments)
    return {name: tensor.float() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("arguments", [{"variant": "fp16"}, {"max_shard_size": "5KB"}], ids=str)
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_every_part_is_read_as_save_pretrained_writes_it(folder, part, arguments):
    expected = saved_again(folder, part, **arguments)
    assert not (folder / part / NETWORKS[part]).exists()
    check_pipeline(folder, KEY)
    if part == "unet":
        found = load_pretrained_unet(folder / "unet", NoiseSchedule.from_config(PROCESS), KEY).unet
    else:
        found = getattr(load_pipeline(folder, KEY), part)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    told = f"{KEY}: {folder / part} has weights only as the variant fp16; it is used, in float32."
    assert pipeline_notes(folder, KEY) == ([told] if "variant" in arguments else [])
    assert pipeline_digest(str(folder), KEY) != pipeline_digest(str(write_pipeline(folder / "whole")), KEY)


def change(file, name, make):
    tensors = load_file(file)
    save_file(tensors | {name: make(tensors[name])}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("part", "name"),
    [("unet", "conv_in.bias"), ("vae", "encoder.conv_in.bias"), ("text_encoder", "final_layer_norm.bias")],
)
def test_types_and_values_of_every_part_are_looked_at(folder, part, name):
    file = folder / part / NETWORKS[part]
    change(file, name, lambda tensor: torch.full_like(tensor, torch.nan))
    check_pipeline(folder, KEY)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file}: tensor '{name}' holds values that are not finite"):
        opened_pipeline(str(folder), pipeline_digest(str(folder), KEY))
    change(file, name, lambda tensor: torch.zeros_like(tensor, dtype=torch.int8))
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file}: tensor '{name}' is of type I8"):
        check_pipeline(folder, KEY)


def test_whole_numbers_in_place_of_weights_are_refused(folder):
    """Positions, as older files have them, are numbers that no layer computes with."""
    file = folder / "text_encoder" / NETWORKS["text_encoder"]
    change(file, "final_layer_norm.bias", lambda tensor: torch.ones_like(tensor, dtype=torch.int64))
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file}: tensor 'final_layer_norm.bias' holds whole numbers"):
        load_pipeline(folder, KEY)


# --- parts that fit each other -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (
            "unet",
            {"in_channels": 3, "out_channels": 3},
            "has in_channels 3, but .*vae/config.json has latent_channels 4",
        ),
        ("unet", {"in_channels": 9}, "has 9 channels in and 4 out; they must agree"),
        ("unet", {"cross_attention_dim": 24}, "has cross_attention_dim 24, but .*text_encoder.* has hidden_size 16"),
        ("unet", {"addition_embed_type": "text"}, "conditioning on more than a prompt"),
        ("unet", {"block_out_channels": [8, 16]}, r"'down_blocks.1.resnets.0.conv2.weight' has shape \[8, 8, 3, 3\]"),
        ("unet", {"block_out_channels": 8}, "has block_out_channels 8, expected"),
        ("unet", {"layers_per_block": "1"}, "has layers_per_block '1', expected a value like 2"),
        ("unet", {"layers_per_block": [1]}, "has block_out_channels .*, expected a list of one for each block"),
        ("vae", {"latent_channels": 8}, "has in_channels 4, but .* has latent_channels 8"),
        ("vae", {"in_channels": 1, "out_channels": 1}, "has in_channels 1, but images have 3 channels"),
        ("vae", {"shift_factor": 0.1}, "has shift_factor 0.1, but only null is supported"),
        ("vae", {"scaling_factor": "big"}, "has scaling_factor 'big', expected a value like 0.18215"),
        ("vae", {"scaling_factor": float("inf")}, "has scaling_factor inf, expected a number"),
        ("vae", {"block_out_channels": [8, 8, 8]}, "lacks tensor 'encoder.down_blocks.2.resnets.0.conv2.weight'"),
        ("vae", {"layers_per_block": 10**30}, "lacks tensor 'encoder.down_blocks.0.resnets.1.conv2.weight'"),
        ("text_encoder", {"hidden_size": 32}, "has cross_attention_dim 16, but .* has hidden_size 32"),
        ("text_encoder", {"vocab_size": 5}, "words, but the text encoder only 5"),
        ("text_encoder", {"num_hidden_layers": 2}, "lacks tensor 'encoder.layers.1.self_attn.k_proj.weight'"),
        ("text_encoder", {"model_type": "t5"}, "has model_type 't5', but only 'clip_text_model' is supported"),
        ("text_encoder", {"quantization_config": {"load_in_8bit": True}}, "has quantization_config; give the weights"),
    ],
)
def test_parts_that_do_not_fit_are_refused_when_planning(folder, part, changes, message):
    edit(folder / part / "config.json", **changes)
    with pytest.raises(ArtifactError, match=rf"^{KEY}: {folder}/.*{message}") as caught:
        check_pipeline(folder, KEY)
    assert "\n" not in str(caught.value)


def test_a_whole_pipeline_is_planned_and_says_which_weights_it_takes(folder):
    planned = text_experiment({"pipeline": str(folder)}, noise_schedule=PROCESS.model_dump())
    assert planned.notes() == []
    shutil.copytree(folder / "unet", folder / "unet_ema")
    assert planned.notes() == [f"{KEY}: {folder} has unet_ema beside unet; unet is used, as model_index.json says."]


def test_what_does_not_fit_is_said_before_anything_runs(folder):
    edit(folder / "unet" / "config.json", cross_attention_dim=24)
    with pytest.raises(ArtifactError, match="has cross_attention_dim 24, but"):
        text_experiment({"pipeline": str(folder)}, noise_schedule=PROCESS.model_dump())


def test_another_process_is_answered_with_the_section_to_write(folder):
    with pytest.raises(ArtifactError) as caught:
        text_experiment({"pipeline": str(folder)})
    assert sections_to_write(caught.value, KEY) == {"noise_schedule": PROCESS.model_dump(include=PROCESS_SETTINGS)}


# --- code and files of a pipeline's own --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": ["mine", "StableDiffusionPipeline"]}, r"is of \['mine', .*but only StableDiffusionPipeline"),
        (
            {"unet": ["mine", "UNet2DConditionModel"]},
            "takes unet from 'mine', but only diffusers is supported, and no code",
        ),
        (
            {"text_encoder": ["mine", "CLIPTextModel"]},
            "takes text_encoder from 'mine', but only transformers is supported",
        ),
        ({"vae": "AutoencoderKL"}, "takes vae from None, but only diffusers is supported"),
        ({"vae": [None, None]}, "has the vae None, but only AutoencoderKL is supported"),
    ],
)
def test_an_index_that_names_code_of_its_own_is_refused(folder, changes, message):
    edit(folder / "model_index.json", **changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}/model_index.json {message}"):
        check_pipeline(folder, KEY)


def test_code_and_pickles_that_lie_in_a_pipeline_do_nothing(folder, pipeline, monkeypatch):
    """Settings name classes in files beside them, and other models; a yes to whoever asks changes nothing."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    planted = folder.parent / "planted"
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / part / "own.py").write_text(f"import os\nos.mkdir({str(planted)!r})\nclass Own: pass\n")
        for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
            (folder / part / name).write_bytes(b"cos\nmkdir\n(S'" + os.fsencode(planted) + b"'\ntR.")
        classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoencoderKL", "CLIPTextModel")
        names = {"auto_map": dict.fromkeys(classes, "own.Own"), "_name_or_path": "someone/other"}
        for file in sorted((folder / part).glob("*config.json")):
            edit(file, **names, custom_pipeline="own", chat_template="{{ 1 }}")
    (folder / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/other"}')
    (folder / "tokenizer" / "chat_template.jinja").write_text("{{ raise_exception('x') }}")
    check_pipeline(folder, KEY)
    found = opened_pipeline(str(folder), pipeline_digest(str(folder), KEY))
    assert torch.equal(encode_prompts(found, TEXTS, 3)[0], encode_prompts(pipeline, TEXTS, 3)[0])
    assert not planted.exists()


@pytest.mark.parametrize(
    "changes", [{"model_max_length": "77"}, {"pad_token": None}, {"model_max_length": [1]}], ids=str
)
def test_a_tokenizer_that_cannot_fill_a_prompt_is_refused(folder, changes):
    edit(folder / "tokenizer" / "tokenizer_config.json", **changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}/tokenizer cannot be read as a") as caught:
        load_pipeline(folder, KEY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["vocab.json", "special_tokens_map.json", "chat_template.jinja"])
def test_pipes_among_a_tokenizers_files_are_refused(folder, name):
    (folder / "tokenizer" / name).unlink(missing_ok=True)
    os.mkfifo(folder / "tokenizer" / name)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {folder}/tokenizer/{name} is not a regular file"):
        check_pipeline(folder, KEY)


def test_a_pipeline_of_a_process_that_samplers_know_as_betas_is_read_and_sampled_from(tmp_path):
    from diffusers import DDIMScheduler

    pipeline, unet = new_pipeline()
    process = config.NoiseSchedule(beta_schedule="sigmoid")
    save_pipeline(tmp_path, dataclasses.replace(pipeline, scheduler=scheduler_settings(process)), unet, AnySpec())
    check_process(tmp_path, process, KEY)
    betas = DDIMScheduler.from_pretrained(tmp_path / "scheduler").betas
    np.testing.assert_allclose(betas.numpy(), betas_of(process), rtol=1e-5)


def test_a_tokenizer_that_names_files_elsewhere_is_refused(folder):
    file = folder / "tokenizer" / "tokenizer_config.json"
    edit(file, vocab_file="/elsewhere/vocab.json")
    with pytest.raises(
        ArtifactError, match=f"^{KEY}: {file} names '/elsewhere/vocab.json' as vocab_file, which is not"
    ):
        check_pipeline(folder, KEY)


# --- prompts -----------------------------------------------------------------------------------------


def test_an_embedding_does_not_depend_on_the_batch(pipeline):
    texts = ["a digit", "", "a digit with neon lines", "glowing", "ink"]
    embeddings, pooled = encode_prompts(pipeline, texts, 5)
    assert (embeddings.shape, pooled.shape) == ((5, 8, 16), (5, 16))
    order = [3, 0, 4, 2, 1]
    in_parts, pooled_in_parts = encode_prompts(pipeline, [texts[row] for row in order], 2)
    torch.testing.assert_close(in_parts, embeddings[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled_in_parts, pooled[order], rtol=0, atol=1e-5)


def test_the_pooled_output_is_the_hidden_state_at_the_end_of_the_text(pipeline):
    """Start, two words, end: position 3."""
    embeddings, pooled = encode_prompts(pipeline, ["a digit"], 1)
    torch.testing.assert_close(pooled[0], embeddings[0, 3])


def test_a_prompt_that_is_too_long_is_cut_and_said_so(pipeline, capsys):
    """Eight tokens, start and end among them: six words are left."""
    words = ["a", "digit", "with", "ink", "neon", "lines", "glowing", "glowing"]
    embeddings, _ = encode_prompts(pipeline, [" ".join(words), " ".join(words[:6])], 2)
    assert torch.equal(embeddings[0], embeddings[1])
    assert (
        capsys.readouterr().out == "prompt of 10 tokens truncated to 8: 'a digit with ink neon lines glowing glowing'\n"
    )


def test_the_most_frequent_pairs_are_merged_first():
    """'an' at the end of three words comes before 'ba' in two; then 'b' and 'an' are left."""
    assert merges_of(Counter({"ban": 2, "an": 1})) == [("a", "n</w>"), ("b", "an</w>")]
    assert merges_of(Counter({"aaa": 1, "a": 5})) == [("a", "a"), ("aa", "a</w>")]


def test_words_of_the_texts_are_single_tokens_and_others_fall_into_pieces(pipeline):
    tokenizer = pipeline.tokenizer
    assert tokenizer.tokenize("Glowing, ink.") == ["glowing</w>", ",</w>", "ink</w>", ".</w>"]
    assert tokenizer.tokenize("wink") == ["w", "ink</w>"]
    assert tokenizer.unk_token_id not in tokenizer("Été 漢 %")["input_ids"][1:-1]


# --- latents -----------------------------------------------------------------------------------------


def test_latents_depend_on_image_id_and_seed_alone(pipeline, pictures):
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    for mode in ("mean", "sample"):
        whole = encode_latents(pipeline.vae, pictures, IDS, mode, 0, 6)
        assert whole.shape == (6, 4, 8, 8)
        shuffled = encode_latents(pipeline.vae, pictures[order], [IDS[row] for row in order], mode, 0, 4)
        torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-5)


def test_sampled_latents_are_mean_and_deviation_times_own_noise_scaled(pipeline, pictures):
    mean = encode_latents(pipeline.vae, pictures, IDS, "mean", 0, 6)
    sample = encode_latents(pipeline.vae, pictures, IDS, "sample", 3, 6)
    with torch.no_grad():
        posterior = pipeline.vae.encode(pictures.float() / 127.5 - 1).latent_dist
    noise = torch.from_numpy(np.stack([gaussian(derive_seed("latents", 3), name, 0, (4, 8, 8)) for name in IDS]))
    torch.testing.assert_close(mean, 0.18215 * posterior.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sample - mean, 0.18215 * posterior.std * noise, rtol=1e-4, atol=1e-5)


def test_decoding_undoes_the_scaling(pipeline, pictures):
    """What is decoded is what the autoencoder itself makes of its own latents, rounded to 8 bits."""
    with torch.no_grad():
        x = pictures.float() / 127.5 - 1
        expected = pipeline.vae.decode(pipeline.vae.encode(x).latent_dist.mean).sample
    latents = encode_latents(pipeline.vae, pictures, IDS, "mean", 0, 6)
    images = decode_latents(pipeline.vae, latents, 4)
    assert images.dtype == torch.uint8
    difference = images.float() - (expected.clamp(-1, 1) + 1) * 127.5
    assert difference.abs().max() <= 0.5 + 1e-3
