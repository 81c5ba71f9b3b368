"""Networks that are told a prompt: the one interface, their folders, and those that others trained."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from text_inputs import PROCESS, normal, prompts, text_denoiser, weights_of

from guda import config
from guda.core.artifacts import save_tensors
from guda.core.errors import ArtifactError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.check import Origin, model_check
from guda.models.denoisers import TextDenoiser, load_denoiser, load_pretrained_unet, save_denoiser
from guda.models.denoisers.text_unet import select_trainable
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import FineTuneSpec, ImagesSpec

KEY = "text_to_image.pipeline"
SPEC = ImagesSpec(dataset="d", content="c")  # any will do
SCHEDULE = NoiseSchedule.from_config(PROCESS)
T = torch.tensor([1, 300, 998])
X = normal(0, 3, 4, 8, 8)


@torch.no_grad()
def predicted(denoiser, condition, x_t=X, t=T):
    return denoiser.predict_noise(x_t, t, condition)


def test_the_prompt_matters_and_every_image_has_its_own():
    denoiser, condition = text_denoiser(), prompts(3)
    together = predicted(denoiser, condition)
    assert (together.dtype, together.shape, denoiser.image_shape) == (torch.float32, X.shape, (4, 8, 8))
    for row in range(3):
        alone = predicted(denoiser, condition[[row]], X[[row]], T[[row]])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)
    other = predicted(denoiser, torch.cat([condition[:2], prompts(1, seed=11)]))
    torch.testing.assert_close(other[:2], together[:2], rtol=1e-4, atol=1e-5)
    assert (other[2] - together[2]).abs().max() > 1e-3


def test_without_a_prompt_it_is_refused():
    with pytest.raises(ValueError, match="needs the embeddings of prompts"):
        text_denoiser().predict_noise(X, T)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_velocity_and_image_are_converted_to_the_noise(prediction_type):
    raw = predicted(text_denoiser(), prompts(3)).double()  # the same weights, taken at their word
    gamma, sigma = (torch.tensor(scale)[T][:, None, None, None] for scale in (SCHEDULE.gammas, SCHEDULE.sigmas))
    # v = gamma e - sigma x and x_t = gamma x + sigma e give e = gamma v + sigma x_t.
    expected = {"v_prediction": gamma * raw + sigma * X, "sample": (X - gamma * raw) / sigma}[prediction_type]
    found = predicted(text_denoiser(prediction_type), prompts(3))
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)


# --- folders -----------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    save_denoiser(tmp_path / "model", text_denoiser(), SPEC, parent_sha256="abc")
    return tmp_path / "model"


def test_diffusers_opens_a_saved_folder(saved):
    from diffusers import UNet2DConditionModel

    theirs = UNet2DConditionModel.from_pretrained(saved).eval()
    with torch.no_grad():
        output = theirs(X, T, encoder_hidden_states=prompts(3)).sample
    assert torch.equal(output, predicted(text_denoiser(), prompts(3)))


def test_a_folder_is_read_back_as_it_was(saved):
    loaded, metadata = load_denoiser(saved, SCHEDULE, SPEC.digest())
    assert isinstance(loaded, TextDenoiser)
    assert torch.equal(predicted(loaded, prompts(3)), predicted(text_denoiser(), prompts(3)))
    assert not loaded.training
    assert (loaded.image_shape, metadata["parent_sha256"]) == ((4, 8, 8), "abc")


def test_an_altered_config_is_refused(saved):
    settings = json.loads((saved / CONFIG).read_text())
    (saved / CONFIG).write_text(json.dumps(settings | {"attention_head_dim": 8}))
    with pytest.raises(ArtifactError, match=f"{saved / CONFIG}: not the configuration"):
        load_denoiser(saved, SCHEDULE)


@pytest.mark.parametrize(
    ("size", "changed", "named"),
    [
        ((8, 8), {}, None),
        ((8, 8), {"attention_head_dim": 8}, "attention_head_dim is 4, but this model's network has 8"),
        ((8, 4), {}, r"sample_size is 8, but this model's network has \[8, 4\]"),
    ],
)
def test_a_fine_tuned_network_is_the_pipelines_for_the_latents_of_the_job(saved, tmp_path, size, changed, named):
    save_tensors(tmp_path / "samples", {"latents": torch.zeros(2, 4, *size)}, SPEC)
    shutil.copytree(saved, tmp_path / "pipeline" / "unet")
    settings = json.loads((saved / CONFIG).read_text()) | {"sample_size": 64} | changed  # which no layer depends on
    del settings["_class_name"]  # others' files do without
    (tmp_path / "pipeline" / "unet" / CONFIG).write_text(json.dumps(settings))
    spec = FineTuneSpec(
        pipeline="p",
        samples="s",
        excluded=None,
        noise_schedule=PROCESS,
        training=config.Training(),
        prompt_dropout=0.1,
        trainable="full",
    )
    check = model_check(spec, Origin(images=str(tmp_path / "samples"), pipeline=str(tmp_path / "pipeline")))
    if named is None:
        check(saved)
    else:
        with pytest.raises(ArtifactError, match=f"{saved / CONFIG}: {named}"):
            check(saved)


# --- networks that others trained --------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path):
    """A pipeline's folder, with the network that diffusers wrote."""
    text_denoiser().unet.save_pretrained(tmp_path / "pipeline" / "unet")
    return tmp_path / "pipeline"


def edit(file, **changes):
    """Change keys of a JSON file; None takes a key out."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def test_a_pipeline_gives_the_weights_of_its_network_in_float32(foreign):
    read = load_pretrained_unet(foreign, SCHEDULE, KEY)
    assert torch.equal(weights_of(read), weights_of(text_denoiser()))
    assert torch.equal(weights_of(load_pretrained_unet(foreign / "unet", SCHEDULE, KEY)), weights_of(read))
    text_denoiser().unet.half().save_pretrained(foreign / "unet")
    halved = load_pretrained_unet(foreign, SCHEDULE, KEY)
    assert {weight.dtype for weight in halved.unet.parameters()} == {torch.float32}
    assert torch.equal(weights_of(halved), weights_of(text_denoiser()).half().float())


@pytest.mark.parametrize(("size", "written"), [((8, 8), 8), ((4, 6), [4, 6])])
def test_the_checkpoint_names_the_size_of_the_latents_it_is_trained_on(foreign, tmp_path, size, written):
    edit(foreign / "unet" / CONFIG, sample_size=64)
    assert load_pretrained_unet(foreign, SCHEDULE, KEY).image_shape == (4, 64, 64)
    read = load_pretrained_unet(foreign, SCHEDULE, KEY, latent_size=size)
    assert read.image_shape == (4, *size)
    save_denoiser(tmp_path / "model", read, SPEC)
    assert json.loads((tmp_path / "model" / CONFIG).read_text())["sample_size"] == written
    assert load_denoiser(tmp_path / "model", SCHEDULE)[0].image_shape == (4, *size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "UNet2DModel"}, "is of class 'UNet2DModel'; give a model of the family of Stable Diffusion"),
        ({"_class_name": None}, "is of class None"),
        ({"addition_embed_type": "text_time"}, "has addition_embed_type 'text_time': conditioning on more than"),
        ({"in_channels": 9}, "has 9 channels in and 4 out; they must agree"),
        ({"sample_size": None}, "has no sample_size"),
    ],
    ids=str,
)
def test_a_network_of_another_family_is_refused(foreign, changes, message):
    edit(foreign / "unet" / CONFIG, **changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / 'unet' / CONFIG} {message}"):
        load_pretrained_unet(foreign, SCHEDULE, KEY)


def test_a_config_that_is_no_json_is_refused(foreign):
    (foreign / "unet" / CONFIG).write_text("{")
    with pytest.raises(ArtifactError, match=f"^{KEY}: {foreign / 'unet' / CONFIG} is not a configuration of diffusers"):
        load_pretrained_unet(foreign, SCHEDULE, KEY)


def test_weights_to_unpickle_are_refused(foreign):
    (foreign / "unet" / WEIGHTS).rename(foreign / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ArtifactError, match=f"^{KEY}: .* has no {WEIGHTS}; diffusion_pytorch_model.bin would have"):
        load_pretrained_unet(foreign, SCHEDULE, KEY)


def test_damaged_and_strange_weights_are_refused(foreign):
    file = foreign / "unet" / WEIGHTS
    tensors = load_file(file)
    whole = shutil.copy(file, foreign / "whole")
    save_file({name: tensor for name, tensor in tensors.items() if name != "conv_in.bias"}, file)
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file} lacks tensor 'conv_in.bias'"):
        load_pretrained_unet(foreign, SCHEDULE, KEY)
    file.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=f"^{KEY}: {file} is not a readable safetensors file"):
        load_pretrained_unet(foreign, SCHEDULE, KEY)


# --- what moves --------------------------------------------------------------------------------------


def test_cross_attention_alone_is_the_layers_that_read_the_prompt():
    denoiser = text_denoiser()
    select_trainable(denoiser, "cross_attention")
    moving = {name for name, weight in denoiser.unet.named_parameters() if weight.requires_grad}
    # Four of them, one down, one in the middle, two up; each has q, k, v, and the output with its bias.
    assert len(moving) == 4 * 5
    assert {name.split(".attn2.")[1] for name in moving} == {
        f"{layer}.weight" for layer in ("to_q", "to_k", "to_v", "to_out.0")
    } | {"to_out.0.bias"}
    select_trainable(denoiser, "full")
    assert all(weight.requires_grad for weight in denoiser.unet.parameters())
