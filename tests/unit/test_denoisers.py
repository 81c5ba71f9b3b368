"""One interface over networks that predict noise, velocity or image; folders that diffusers opens."""

import json
from types import SimpleNamespace

import pytest
import torch

from guda import config
from guda.core.errors import ArtifactError
from guda.core.paths import WEIGHTS
from guda.models.denoisers import UNetDenoiser, load_denoiser, new_denoiser, save_denoiser
from guda.models.noise_schedule import NoiseSchedule
from guda.specs import TrainSpec

PREDICTIONS = ["epsilon", "v_prediction", "sample"]
T = torch.tensor([0, 10, 300, 998])


def schedule_of(prediction_type):
    return NoiseSchedule.from_config(config.NoiseSchedule(num_train_timesteps=1000, prediction_type=prediction_type))


def spec_of(unet, seed=0):
    return TrainSpec(
        images="images",
        excluded=None,
        unet=unet,
        noise_schedule=config.NoiseSchedule(),
        training=config.Training(seed=seed),
    )


class Belief(torch.nn.Module):
    """A network that believes in the noise of any x_t to be `noise`, and puts that in the terms it is asked for."""

    def __init__(self, schedule, noise, extra_channels=0):
        super().__init__()
        self.schedule, self.noise, self.extra_channels = schedule, noise, extra_channels

    def forward(self, x_t, t):
        gamma, sigma = (
            torch.tensor(scale)[t][:, None, None, None] for scale in (self.schedule.gammas, self.schedule.sigmas)
        )
        x = (x_t - sigma * self.noise) / gamma
        prediction = {"epsilon": self.noise, "v_prediction": gamma * self.noise - sigma * x, "sample": x}
        variance = torch.full((len(x_t), self.extra_channels, *x_t.shape[2:]), 1e6)
        return SimpleNamespace(sample=torch.cat([prediction[self.schedule.prediction_type].float(), variance], dim=1))


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("extra_channels", [0, 3], ids=["plain", "learned variance"])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_every_prediction_type_gives_the_noise(prediction_type, extra_channels):
    schedule, noise = schedule_of(prediction_type), normal(0, 4, 3, 4, 4)
    denoiser = UNetDenoiser(Belief(schedule, noise, extra_channels), schedule)
    predicted = denoiser.predict_noise(normal(1, 4, 3, 4, 4), T)
    assert predicted.dtype == torch.float32
    # float32 x through gamma / sigma (156 at step 0) or 1 / gamma (300 at step 998).
    torch.testing.assert_close(predicted, noise, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_training_loss_is_zero_for_the_truth_and_right_for_an_error(prediction_type):
    schedule, x, noise = schedule_of(prediction_type), normal(2, 4, 1, 4, 4), normal(3, 4, 1, 4, 4)
    t = torch.tensor([500] * 4)
    gamma, sigma = schedule.gammas[500], schedule.sigmas[500]
    truth = UNetDenoiser(Belief(schedule, noise), schedule)
    assert truth.training_loss(x, noise, t) < 1e-10
    # A noise wrong by d is an image wrong by d sigma / gamma, a velocity by d (gamma + sigma^2 / gamma) = d / gamma.
    wrong = UNetDenoiser(Belief(schedule, noise + 0.1), schedule)
    factor = {"epsilon": 1, "v_prediction": 1 / gamma, "sample": sigma / gamma}[prediction_type]
    assert wrong.training_loss(x, noise, t).item() == pytest.approx((0.1 * factor) ** 2, rel=1e-4)


def test_add_noise_by_hand(denoiser, schedule):
    x, noise = normal(0, 4, 1, 8, 8), normal(1, 4, 1, 8, 8)
    noised = denoiser.add_noise(x, noise, T)
    for row, t in enumerate(T.tolist()):
        a = schedule.alphas_cumprod[t]
        torch.testing.assert_close(noised[row], (a**0.5 * x[row] + (1 - a) ** 0.5 * noise[row]).float())


def test_a_condition_is_refused(denoiser):
    with pytest.raises(ValueError, match="takes no condition"):
        denoiser.predict_noise(torch.zeros(1, 1, 8, 8), torch.tensor([1]), torch.zeros(1))


def test_schedule_constants_are_not_saved_as_weights(denoiser):
    assert all(name.startswith("unet.") for name in denoiser.state_dict())


def test_networks_fit_images_that_are_not_square(tiny_unet, schedule):
    denoiser = new_denoiser(tiny_unet, schedule, (3, 8, 4))
    assert denoiser.image_shape == (3, 8, 4)
    assert denoiser.predict_noise(torch.zeros(2, 3, 8, 4), torch.tensor([1, 2])).shape == (2, 3, 8, 4)


@pytest.fixture
def saved(tmp_path, denoiser, tiny_unet):
    save_denoiser(tmp_path / "model", denoiser, spec_of(tiny_unet), parent_sha256="abc")
    return tmp_path / "model"


def test_diffusers_opens_a_saved_folder(saved, denoiser):
    from diffusers import UNet2DModel

    theirs = UNet2DModel.from_pretrained(saved).eval()
    x_t = normal(0, 4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(theirs(x_t, T).sample, denoiser.predict_noise(x_t, T))


def test_a_folder_is_read_back_as_it_was(saved, denoiser, tiny_unet, schedule):
    loaded, metadata = load_denoiser(saved, schedule, spec_of(tiny_unet).digest())
    x_t = normal(0, 4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded.predict_noise(x_t, T), denoiser.predict_noise(x_t, T))
    assert not loaded.training
    assert loaded.image_shape == (1, 8, 8)
    assert metadata["parent_sha256"] == "abc"
    assert metadata["spec"] == spec_of(tiny_unet).canonical()


def test_another_spec_is_refused(saved, tiny_unet, schedule):
    with pytest.raises(ArtifactError, match=f"{WEIGHTS}: made for another configuration"):
        load_denoiser(saved, schedule, spec_of(tiny_unet, seed=1).digest())


@pytest.mark.parametrize("length", [0, 4, 200, -1], ids=["empty", "no header", "half a header", "one byte less"])
def test_truncated_weights_are_refused(saved, schedule, length):
    content = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(content[:length])
    with pytest.raises(ArtifactError, match=str(saved / WEIGHTS)):
        load_denoiser(saved, schedule)


def test_altered_weights_are_refused(saved, schedule):
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{saved / WEIGHTS}: .* checksum"):
        load_denoiser(saved, schedule)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_missing_file_is_named(saved, schedule, name):
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_denoiser(saved, schedule)


def test_weights_of_another_architecture_are_refused(saved, tmp_path, schedule):
    wide = config.UNet(block_out_channels=[8, 16])
    save_denoiser(tmp_path / "wide", new_denoiser(wide, schedule, (1, 8, 8)), spec_of(wide))
    (tmp_path / "wide" / WEIGHTS).replace(saved / WEIGHTS)
    with pytest.raises(ArtifactError, match=f"{saved}/config.json: not the configuration that"):
        load_denoiser(saved, schedule)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"down_block_types": ["NoSuchBlock"]}', '{"in_channels": "three"}']
)
def test_a_damaged_config_is_named(saved, schedule, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=str(saved)):
        load_denoiser(saved, schedule)


@pytest.mark.parametrize("change", [{"norm_num_groups": 4}, {"sample_size": [4, 4]}, {"flip_sin_to_cos": False}])
def test_a_config_of_another_network_with_the_same_shapes_is_refused(saved, schedule, change):
    values = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(ArtifactError, match=str(saved)):
        load_denoiser(saved, schedule)
