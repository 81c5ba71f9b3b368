"""Settings of models of others: what is advised can be written, and what is known before a job is said before it."""

import inspect
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from safetensors.torch import load_file, save_file
from test_architectures import UNUSUAL

from guda import config
from guda.core.errors import ArtifactError
from guda.core.paths import CONFIG, WEIGHTS
from guda.models.checkpoints.landmarks import landmarks_of_autoencoder, landmarks_of_text_encoder, landmarks_of_unet
from guda.models.checkpoints.settings import UNET_DEFAULTS, network_of
from guda.models.checkpoints.tensors import tensors_of_unet
from guda.models.denoisers import load_imported_denoiser, new_denoiser
from guda.models.imported import check_model
from guda.models.noise_schedule import betas_of
from guda.plan.config import load_config
from guda.plan.experiment import Experiment
from guda.specs import ImportedModelSpec

KEY = "model.pretrained"
ADVISED = " has other settings than the configuration; to use it, write"
RULES = Path(__file__).resolve().parents[2] / "rules"


# --- what is known of diffusers without importing it -------------------------------------------------


def test_the_defaults_are_those_of_diffusers():
    arguments = inspect.signature(UNet2DModel).parameters.values()
    assert json.loads(json.dumps({each.name: each.default for each in arguments})) == UNET_DEFAULTS


@pytest.mark.parametrize("changes", [{}, {"learned_variance": True}, *UNUSUAL.values()], ids=str)
def test_the_settings_of_a_network_are_those_that_it_writes(tiny_unet, schedule, changes):
    unet = config.UNet.model_validate(tiny_unet.model_dump() | changes)
    written = json.loads(new_denoiser(unet, schedule, (3, 8, 16)).unet.to_json_string())
    assert written.pop("_diffusers_version")
    assert network_of(unet, (3, 8, 16)) == written


def assert_landmarks(landmarks, network):
    """They are tensors of the network, and with one block or layer more, or other channels, they would not be."""
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert dict(landmarks).items() <= shapes.items()


@pytest.mark.parametrize("changes", [{}, *UNUSUAL.values()], ids=str)
def test_landmarks_are_tensors_of_the_network(tiny_unet, schedule, changes):
    unet = config.UNet.model_validate(tiny_unet.model_dump() | {"block_out_channels": [8, 16]} | changes)
    network = new_denoiser(unet, schedule, (3, 8, 8)).unet
    found = dict(landmarks_of_unet(network_of(unet, (3, 8, 8))))
    assert_landmarks(found.items(), network)
    # Three of input, output and time; a convolution in each of one layer down and two up, for two resolutions.
    assert len(found) == 3 + 2 * (1 + 2)


EVERY_KIND = [
    {
        "block_out_channels": [8, 16, 8],
        "layers_per_block": layers,
        "down_block_types": [down, "DownBlock2D", down],
        "up_block_types": [up, "UpBlock2D", up],
        "downsample_type": way,
        "upsample_type": way,
        "add_attention": True,
        "resnet_time_scale_shift": shift,
        "attn_norm_num_groups": groups,
        "mid_block_type": middle,
    }
    for layers, down, up, way, shift, groups, middle in [
        (1, "AttnDownBlock2D", "AttnUpBlock2D", "resnet", "scale_shift", None, "UNetMidBlock2D"),
        (2, "AttnDownBlock2D", "AttnUpBlock2D", "conv", "scale_shift", 4, "UNetMidBlock2D"),
        (3, "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D", "conv", "default", None, "UNetMidBlock2D"),
        (1, "DownBlock2D", "UpBlock2D", "resnet", "default", None, None),
    ]
]


@pytest.mark.parametrize("changes", [{}, {"learned_variance": True}, *UNUSUAL.values(), *EVERY_KIND], ids=str)
def test_the_tensors_of_a_network_are_known_without_it(tiny_unet, schedule, changes):
    unet = config.UNet.model_validate(tiny_unet.model_dump() | changes)
    network = new_denoiser(unet, schedule, (3, 8, 8)).unet
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    listed = list(tensors_of_unet(network_of(unet, (3, 8, 8))))
    assert dict(listed) == expected
    assert len(listed) == len(expected)


def test_landmarks_of_stable_diffusion_are_tensors_of_its_networks():
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
        )
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12))
    settings = [json.loads(each.to_json_string()) for each in (unet, vae)]
    assert_landmarks(landmarks_of_unet(settings[0]), unet)
    assert_landmarks(landmarks_of_autoencoder(settings[1]), vae)
    assert_landmarks(landmarks_of_text_encoder(text.config.to_dict(), ""), text)


# --- advice ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tiny_unet, schedule, tmp_path_factory):
    """A pipeline that diffusers wrote, of one gray channel and 8x8 pixels."""
    folder, network = tmp_path_factory.mktemp("saved"), new_denoiser(tiny_unet, schedule, (1, 8, 8)).unet
    DDPMPipeline(network, DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(folder)
    return folder


@pytest.fixture
def foreign(saved, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(saved, tmp_path / "mine"))


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def settings_for(folder, **changes):
    unet = {"block_out_channels": [8, 8], "norm_num_groups": 8}
    return load_config({"model": {"pretrained": str(folder)}, "unet": unet} | changes)


def look(folder, **changes):
    """What planning does, without the images."""
    settings = settings_for(folder, **changes)
    check_model(folder, settings.unet, settings.noise_schedule, (1, 8, 8), KEY, settings)


def refusal(folder, look=look, **changes):
    with pytest.raises(ArtifactError) as caught:
        look(folder, **changes)
    return str(caught.value)


def plan(folder, **changes):
    return Experiment(settings_for(folder, **changes))


def assert_can_be_followed(message):
    """The YAML that it says to write is a configuration; else it is one line that says what is not supported."""
    headline, *lines = message.splitlines()
    assert headline.startswith(f"{KEY}: ")
    if headline.endswith(ADVISED):
        advised = yaml.safe_load("\n".join(lines))
        assert advised
        load_config(advised)
        return advised
    assert not lines
    assert re.search(
        "is supported|is not supported|are supported|defined by betas|need sides|"
        "beta_schedule that gives them|other keys would have",
        headline,
    )
    return None


NETWORK = {
    "sample_size": [16, 7, 1, 0, -8, [8, 16], [8], [8, 8, 8], "8", 8.5, True],
    "in_channels": [3, 2, 4, 0, "3", None],
    "out_channels": [2, 3, 4, 0, None],
    "center_input_sample": [True, "yes", None],
    "time_embedding_type": ["fourier", "learned", None],
    "time_embedding_dim": [16, 0, -1, "16"],
    "freq_shift": [1, 4, 100, -1, 0.5],
    "flip_sin_to_cos": [False, 3],
    "down_block_types": [
        ["DownBlock2D"],
        ["AttnDownBlock2D"] * 2,
        ["SkipDownBlock2D", "DownBlock2D"],
        "DownBlock2D",
        [],
    ],
    "mid_block_type": [None, "UNetMidBlock2DCrossAttn"],
    "up_block_types": [["AttnUpBlock2D"] * 2, ["KUpBlock2D"] * 2],
    "block_out_channels": [[16, 32], [8], [8] * 5, [12, 12], [], [0, 8], "8", None, [8.5, 8]],
    "layers_per_block": [2, 0, -1, 1.5, [1, 2], 10**30],
    "mid_block_scale_factor": [2, 1.5, 0, -1],
    "downsample_padding": [0, 2],
    "downsample_type": ["resnet", "pool"],
    "upsample_type": ["resnet", "bilinear"],
    "dropout": [0.5, 1, 1.5, -0.1],
    "act_fn": ["gelu", "swish", "tanh"],
    "attention_head_dim": [4, None, 0, 64],
    "norm_num_groups": [4, 2, 3, 32, 0],
    "attn_norm_num_groups": [4, 3],
    "norm_eps": [1e-6, 0, -1, float("nan"), float("inf"), 1e-300],
    "resnet_time_scale_shift": ["scale_shift", "ada_group"],
    "add_attention": [True, 0.5],
    "class_embed_type": ["timestep"],
    "num_class_embeds": [10],
    "num_train_timesteps": [1000],
    "_class_name": ["UNet2DConditionModel", ["mine", "UNet2DModel"], None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NETWORK.items() for value in values])
def test_what_is_advised_for_a_network_can_be_written(foreign, name, value):
    edit(foreign / "unet" / CONFIG, **{name: value})
    try:
        look(foreign)
    except ArtifactError as error:
        assert_can_be_followed(str(error))
    else:  # null is no size of images, and what the network computes is the same
        assert json.loads((foreign / "unet" / CONFIG).read_text())[name] in (None, False, 0, True)


BETA_SCHEDULES = ["linear", "scaled_linear", "sigmoid", "laplace", "exponential", "", None, 3]
PROCESS = {
    "beta_schedule": BETA_SCHEDULES,
    "num_train_timesteps": [4000, 500, 999, 100, 10, 2, 1, 0, -5, "1000", 1000.5, None],
    "prediction_type": ["v_prediction", "sample", "flow_prediction", "score", None],
    "trained_betas": [[0.1], [], [0.1] * 1000, "linear", 0.1, [True], ["0.1"], [float("nan")] * 1000],
    "rescale_betas_zero_snr": [True],
    "use_flow_sigmas": [True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in PROCESS.items() for value in values])
def test_what_is_advised_for_a_process_can_be_written(foreign, name, value):
    edit(foreign / "scheduler" / "scheduler_config.json", **{name: value})
    if value == "1000":
        look(foreign)  # the configuration takes it for 1000, too
    else:
        assert_can_be_followed(refusal(foreign))


BETAS = [0, -1, 1, 2, 1e-300, float("nan"), "0.1", None, 0.5, 0.001]


@pytest.mark.parametrize("betas", [(value, 0.02) for value in BETAS] + [(1e-4, value) for value in BETAS], ids=str)
@pytest.mark.parametrize("beta_schedule", ["linear", "sigmoid"])
def test_what_is_advised_for_betas_can_be_written(foreign, beta_schedule, betas):
    values = dict(zip(("beta_start", "beta_end"), betas, strict=True))
    edit(foreign / "scheduler" / "scheduler_config.json", beta_schedule=beta_schedule, **values)
    assert_can_be_followed(refusal(foreign))


def test_the_tests_know_every_setting_that_may_be_advised():
    assert set(config.UNet.model_fields) - {"learned_variance"} <= set(NETWORK)
    assert set(config.NoiseSchedule.model_fields) <= {*PROCESS, "beta_start", "beta_end"}
    known = config.NoiseSchedule.model_json_schema()["properties"]["beta_schedule"]["enum"]
    assert set(known) - set(BETA_SCHEDULES) == {"squaredcos_cap_v2"}


def test_a_model_is_planned_once_the_advice_is_followed(foreign):
    """Fewer steps leave no room for those that are scored: with the process the advice moves these, too."""
    edit(foreign / "scheduler" / "scheduler_config.json", num_train_timesteps=60, beta_schedule="sigmoid")
    advised = assert_can_be_followed(refusal(foreign))
    assert advised == {
        "noise_schedule": {"num_train_timesteps": 60, "beta_schedule": "sigmoid"},
        "elbo": {"steps": {"first": 6, "last": 59}},
        "queries": {"sampling_steps": 30},
    }
    likelihood = {"likelihood": {"first": 1}, "attribution": {"embedding": {"step": 6}}}
    assert isinstance(plan(foreign, **advised, **likelihood), Experiment)


def test_what_the_advice_would_break_elsewhere_is_said_with_it(foreign):
    edit(foreign / "scheduler" / "scheduler_config.json", num_train_timesteps=500)
    sweep = {"elbo_steps": [{"last": 600}, {"last": 700}]}
    message = refusal(foreign, sweep=sweep, oracle={"seeds": [1, 2]})
    assert "\n" not in message
    assert '"num_train_timesteps": 500' in message
    assert "With these, other keys would have to change, too: sweep.elbo_steps.last is 700, after" in message


# --- betas of a model's own --------------------------------------------------------------------------


def imported(folder, process):
    unet = config.UNet(block_out_channels=[8, 8], norm_num_groups=8)
    spec = ImportedModelSpec(content="c", shape=[1, 8, 8], unet=unet, noise_schedule=process)
    return load_imported_denoiser(folder, spec, KEY)


@pytest.mark.parametrize("beta_schedule", ["linear", "sigmoid", "squaredcos_cap_v2"])
def test_a_list_of_the_configured_betas_is_taken(foreign, beta_schedule):
    process = config.NoiseSchedule(num_train_timesteps=100, beta_schedule=beta_schedule)
    betas = torch.tensor(betas_of(process), dtype=torch.float32).tolist()
    DDPMScheduler(num_train_timesteps=100, trained_betas=betas).save_pretrained(foreign / "scheduler")
    assert imported(foreign, process).schedule.prediction_type == "epsilon"
    other = process.model_copy(update={"beta_schedule": "scaled_linear"})
    with pytest.raises(ArtifactError, match=r"has trained_betas \[.*, \.\.\. 100 in all\], but only None or"):
        imported(foreign, other)


# --- planning ----------------------------------------------------------------------------------------


def test_a_process_that_does_not_fit_is_said_before_anything_runs(foreign):
    edit(foreign / "scheduler" / "scheduler_config.json", num_train_timesteps=4000)
    assert refusal(foreign, plan) == f"{KEY}: {foreign}{ADVISED}\nnoise_schedule: {{num_train_timesteps: 4000}}"


def test_unlearned_models_are_looked_at_too(foreign, denoiser, tmp_path):
    denoiser.unet.save_pretrained(tmp_path / "other")
    edit(tmp_path / "other" / CONFIG, norm_eps=1e-6)
    message = refusal(foreign, plan, unlearn={"import": {"amber": str(tmp_path / "other")}})
    assert message.startswith(f"unlearn.import.amber: {tmp_path / 'other'}{ADVISED}\nunet: {{norm_eps: 1.0e-06}}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"block_out_channels": [16, 32]},
            r"tensor 'conv_in.weight' has shape \[8, 1, 3, 3\], expected \[16, 1, 3, 3\]",
        ),
        ({"block_out_channels": [8, 16]}, r"'down_blocks.1.resnets.0.conv1.weight' has shape \[8, 8, 3, 3\]"),
        ({"layers_per_block": 2}, "lacks tensor 'down_blocks.0.resnets.1.norm1.weight'"),
        ({"time_embedding_dim": 16}, r"'time_embedding.linear_1.weight' has shape \[32, 8\], expected \[16, 8\]"),
    ],
    ids=str,
)
def test_weights_of_another_network_than_their_settings_are_refused_when_planning(foreign, changes, message):
    edit(foreign / "unet" / CONFIG, **changes)
    unet = config.UNet.model_validate({"block_out_channels": [8, 8], "norm_num_groups": 8} | changes)
    with pytest.raises(ArtifactError, match=f"^{KEY}: .*{message}"):
        check_model(foreign, unet, config.NoiseSchedule(), (1, 8, 8), KEY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("conv_in.bias"),
            "lacks tensor 'conv_in.bias', which config.json beside it requires",
        ),
        (lambda tensors: tensors.pop("mid_block.resnets.1.norm2.weight"), "lacks tensor 'mid_block.resnets.1.norm2.w"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has an unknown tensor 'extra'$"),
        (
            lambda tensors: tensors.update({"up_blocks.0.resnets.1.norm1.bias": torch.zeros(3)}),
            r"tensor 'up_blocks.0.resnets.1.norm1.bias' has shape \[3\], expected \[16\] by config.json$",
        ),
    ],
    ids=["missing", "missing deep inside", "extra", "wrong shape"],
)
def test_a_tensor_that_does_not_fit_is_said_when_planning(foreign, change, message):
    weights = foreign / "unet" / WEIGHTS
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)
    assert re.match(f"{KEY}: {weights}:? {message}", refusal(foreign, plan))


def test_notes_of_brought_models_are_the_experiments(foreign):
    assert plan(foreign).notes() == []
    (foreign / "unet").rename(foreign / "unet_ema")
    network = UNet2DModel.from_pretrained(foreign / "unet_ema")
    network.save_pretrained(foreign / "unet")
    (note,) = plan(foreign).notes()
    assert "is read with the averaged weights in unet_ema" in note


@pytest.mark.parametrize("entry", [["mine", "UNet2DModel"], ["diffusers", "UNet2DConditionModel"], "UNet2DModel", None])
def test_a_pipeline_whose_network_is_of_code_of_its_own_is_refused(foreign, entry):
    edit(foreign / "model_index.json", unet=entry)
    assert refusal(foreign) == (
        f"{KEY}: {foreign}/model_index.json has the unet {entry!r}, but only UNet2DModel of diffusers is supported"
    )


def test_a_network_of_latents_is_refused(foreign):
    edit(foreign / "model_index.json", vqvae=["diffusers", "VQModel"])
    assert "model_index.json has a vqvae: its network sees latents" in refusal(foreign)
    edit(foreign / "model_index.json", vqvae=[None, None])
    look(foreign)


def test_a_pipeline_of_code_of_its_own_is_refused(foreign):
    edit(foreign / "model_index.json", _class_name=["mine", "Pipeline"])
    assert "model_index.json is of ['mine', 'Pipeline'], code that is never run" in refusal(foreign)


def test_jobs_that_read_what_others_made_come_before_all_trainings():
    text = "".join((RULES / name).read_text() for name in ("models.smk", "prompts.smk", "scores.smk"))
    rules = re.split(r"\n *(?:rule|use rule \w+ as) (\w+)(?: with)?:\n", text)[1:]
    found = {name: re.search(r"priority: (\d+)", body) for name, body in zip(rules[::2], rules[1::2], strict=True)}
    priorities = {name: int(match[1]) if match else 0 for name, match in found.items()}
    trainings = [name for name in priorities if name.startswith(("train_", "unlearn"))]
    assert len(trainings) == 8
    highest = max(priorities[name] for name in trainings)
    assert min(priorities[name] for name in ("import_model", "features", "encoded_anchors")) > highest
