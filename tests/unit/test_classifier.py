"""The classifier of noisy images: distributions over groups, learned from what groups an image is in."""

import numpy as np
import pytest
import torch

from guda import config
from guda.core.errors import ArtifactError
from guda.data.labels import Memberships
from guda.models.classifier import GroupClassifier, load_classifier, save_classifier
from guda.scoring.posteriors import posteriors
from guda.specs import ClassifierSpec
from guda.training.classifier import train_classifier

IDS = [f"i{index:02d}" for index in range(12)]
STEPS = np.array([5, 300, 700])
SETTINGS = config.Training(steps=40, batch_size=16, warmup_steps=5, learning_rate=1e-2, ema_decay=0)


@pytest.fixture
def classifier(tiny_unet, schedule):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GroupClassifier(tiny_unet, schedule, (1, 8, 8), 3).eval()


@pytest.fixture(scope="module")
def plain_images():
    """Four black, four white and four gray images."""
    return torch.tensor([0, 255, 128], dtype=torch.uint8).repeat_interleave(4)[:, None, None, None].repeat(1, 1, 8, 8)


def learned(images, groups, unet, schedule, settings=SETTINGS):
    return train_classifier(images, Memberships.of(IDS, groups), unet, schedule, settings)[0]


def test_probabilities_add_up_to_one(classifier, images):
    found = posteriors(classifier, images, IDS, STEPS, 0, 64)
    assert found.shape == (12, 3, 3)
    torch.testing.assert_close(found.sum(2), torch.ones(12, 3))
    assert (found > 0).all()


def test_batch_size_and_company_do_not_change_probabilities(classifier, images):
    whole = posteriors(classifier, images, IDS, STEPS, 0, 64)
    torch.testing.assert_close(posteriors(classifier, images, IDS, STEPS, 0, 5), whole, rtol=1e-4, atol=0)
    alone = posteriors(classifier, images[7:8], IDS[7:8], STEPS[1:2], 0, 1)
    torch.testing.assert_close(alone[0, 0], whole[7, 1], rtol=1e-4, atol=0)


def test_it_tells_apart_what_differs_and_not_what_is_shared(plain_images, tiny_unet, schedule):
    # Black is group 0's alone, white group 1's alone, gray both's.
    groups = [{*IDS[:4], *IDS[8:]}, set(IDS[4:])]
    found = posteriors(learned(plain_images, groups, tiny_unet, schedule), plain_images, IDS, STEPS[1:2], 0, 64)[
        :, 0, 0
    ]
    assert found[:4].min() > 0.9
    assert found[4:8].max() < 0.1
    assert found[8:].mean() == pytest.approx(0.5, abs=0.2)


def test_images_in_no_group_are_left_out(images, tiny_unet, schedule):
    groups, painted = [set(IDS[:4]), set(IDS[4:8])], images.clone()
    painted[8:] = 7
    short = SETTINGS.model_copy(update={"steps": 8})
    one, other = (learned(pixels, groups, tiny_unet, schedule, short) for pixels in (images, painted))
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


def test_it_comes_back_from_its_folder(classifier, images, tiny_unet, schedule, tmp_path):
    spec = ClassifierSpec(
        images="i", members={}, unet=tiny_unet, noise_schedule=config.NoiseSchedule(), training=SETTINGS
    )
    save_classifier(tmp_path, classifier, ["a", "b", "c"], spec)
    read, groups = load_classifier(tmp_path, schedule, spec.digest())
    assert groups == ["a", "b", "c"]
    assert torch.equal(posteriors(read, images, IDS, STEPS, 0, 64), posteriors(classifier, images, IDS, STEPS, 0, 64))
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"a"', '"z"'))
    with pytest.raises(ArtifactError, match=r"config\.json: not the configuration that"):
        load_classifier(tmp_path, schedule)


@pytest.mark.parametrize(
    "unet",
    [
        {"mid_block_type": None},
        {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]},
        {"down_block_types": ["ResnetDownsampleBlock2D", "DownBlock2D"], "resnet_time_scale_shift": "scale_shift"},
    ],
    ids=["no middle", "attention", "resnet"],
)
def test_every_network_has_an_encoder(unet, schedule):
    settings = config.UNet(block_out_channels=[8, 16], **unet)
    log_probabilities = GroupClassifier(settings, schedule, (3, 8, 12), 2).eval()(
        torch.zeros(2, 3, 8, 12), torch.zeros(2, 3, 8, 12), torch.tensor([3, 9])
    )
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(2))
