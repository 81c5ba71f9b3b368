"""What training and unlearning give on the fixed inputs."""

import json

import torch
from golden_inputs import (
    IDS,
    IMAGES,
    MEMBERS,
    OPTIMIZATION,
    SCHEDULE,
    UNET,
    execution,
    fixed_denoiser,
    run_stage,
    save_images,
)

import import_model
from guda import config, specs
from guda.core.paths import BASE
from guda.data.labels import DrawnLabels, Memberships
from guda.models.denoisers import load_denoiser
from guda.models.imported import source_digest
from guda.models.noise_schedule import NoiseSchedule
from guda.training.classifier import train_classifier
from guda.training.loop import train, tune
from guda.unlearning.erasediff import compute as erasediff
from guda.unlearning.erasediff.plan import EraseDiff, EraseDiffSpec
from guda.unlearning.esd import compute as esd
from guda.unlearning.esd.plan import Esd, EsdSpec
from guda.unlearning.finetune import compute as finetune
from guda.unlearning.finetune.plan import ContinuedSettings, ContinuedTrainingSpec
from guda.unlearning.neggrad import compute as neggrad
from guda.unlearning.neggrad.plan import NegGrad, NegGradSpec
from guda.unlearning.retrack.compute import unlearn
from guda.unlearning.retrack.plan import Unlearning, UnlearnSpec
from guda.unlearning.siss import compute as siss
from guda.unlearning.siss.plan import Siss, SissSpec


@torch.no_grad()
def summary(denoiser):
    """Numbers that any change of the weights moves: their mean size, and predictions at one point."""
    sizes = torch.cat([parameter.flatten() for parameter in denoiser.to("cpu").parameters()]).abs()
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    noise = denoiser.predict_noise(x, torch.tensor([40])).flatten().double()
    return [sizes.double().mean().item(), noise.abs().mean().item(), *noise[[0, 27, 63]].tolist()]


def trained(tmp_path):
    settings = config.Training(**OPTIMIZATION, ema_decay=0.5, flip=False)
    denoiser, evaluations = train(
        torch.from_numpy(IMAGES), UNET, NoiseSchedule.from_config(SCHEDULE), settings, execution()
    )
    return [evaluations, *summary(denoiser)]


def unlearned(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    nearest = torch.tensor([[4, 5], [6, 7], [8, 9], [10, 11]])
    rest = {"forget_weight": 0.3, "n_neighbors": 2, "preserve": "denoising", "max_correction_norm": None}
    numbers = []
    for bandwidth in (0, 0.3):
        settings = Unlearning(**OPTIMIZATION, **rest, bandwidth=bandwidth)
        denoiser, evaluations = unlearn(
            fixed_denoiser(), torch.from_numpy(IMAGES), forget, nearest, settings, execution()
        )
        numbers += [evaluations, *summary(denoiser)]
    return numbers


def finetuned(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = ContinuedSettings(**OPTIMIZATION)
    denoiser, evaluations = finetune.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings, execution())
    return [evaluations, *summary(denoiser)]


def driven(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = NegGrad(**OPTIMIZATION, preserve_weight=0.5)
    denoiser, evaluations = neggrad.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings, execution())
    return [evaluations, *summary(denoiser)]


def erased(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = EraseDiff(**OPTIMIZATION, erasure_rate=0.2, first=10, last=80)
    denoiser, evaluations = erasediff.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings, execution())
    return [evaluations, *summary(denoiser)]


def subtracted(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = Siss(**OPTIMIZATION, mixture=0.4, forget_norm=0.2)
    denoiser, evaluations = siss.unlearn(fixed_denoiser(), torch.from_numpy(IMAGES), forget, settings, execution())
    return [evaluations, *summary(denoiser)]


def guided(tmp_path):
    forget = torch.tensor([name in MEMBERS["a"] for name in IDS])
    settings = Esd(**OPTIMIZATION, forget_weight=0.3, guidance=2.0, preserve="distillation")
    conditional = fixed_denoiser(n_labels=3)
    denoiser, evaluations = esd.unlearn(
        fixed_denoiser(), torch.from_numpy(IMAGES), forget, conditional, 1, settings, execution()
    )
    return [evaluations, *summary(denoiser)]


def tuned(tmp_path):
    settings = config.Training(**OPTIMIZATION, ema_decay=0.0, flip=False)
    denoiser, evaluations = tune(
        fixed_denoiser(), torch.from_numpy(IMAGES), torch.tensor([1, 4, 5]), settings, execution()
    )
    return [evaluations, *summary(denoiser)]


def imported(tmp_path):
    """A folder that diffusers wrote gives the very weights that are in it."""
    fixed_denoiser().unet.save_pretrained(tmp_path / "foreign")
    spec = specs.ImportedModelSpec(
        content=source_digest(str(tmp_path / "foreign"), "key"), shape=[1, 8, 8], unet=UNET, noise_schedule=SCHEDULE
    )
    imports, images = json.dumps({BASE: [str(tmp_path / "foreign"), "key"]}), tmp_path / "images.safetensors"
    save_images(images, specs.ImagesSpec(dataset="d", content="c"), IMAGES, IDS)
    flags = {"spec": spec.canonical(), "name": BASE, "imports": imports, "samples": images, "model": tmp_path / "model"}
    run_stage(import_model, **flags)
    denoiser, _ = load_denoiser(tmp_path / "model", NoiseSchedule.from_config(SCHEDULE), spec.digest())
    return summary(denoiser)


def memberships():
    return Memberships.of(IDS, [set(members) for members in MEMBERS.values()])


def conditional(tmp_path):
    settings = config.Training(**OPTIMIZATION, ema_decay=0.5, flip=False)
    labels = DrawnLabels(memberships(), IDS, 3, 0.2)
    denoiser, evaluations = train(
        torch.from_numpy(IMAGES), UNET, NoiseSchedule.from_config(SCHEDULE), settings, execution(), labels=labels
    )
    return [evaluations, *labels.draw(torch.arange(12), 1).tolist(), *summary(denoiser)]


def classifier(tmp_path):
    settings = config.Training(**OPTIMIZATION, ema_decay=0.5, flip=True)
    network, evaluations = train_classifier(
        torch.from_numpy(IMAGES), memberships(), UNET, NoiseSchedule.from_config(SCHEDULE), settings, execution()
    )
    weights = torch.cat([parameter.flatten() for parameter in network.to("cpu").parameters()])
    return [evaluations, weights.double().abs().mean().item(), *weights[[0, 500, -1]].tolist()]


STAGES = {
    specs.TrainSpec: trained,
    UnlearnSpec: unlearned,
    EsdSpec: guided,
    ContinuedTrainingSpec: finetuned,
    NegGradSpec: driven,
    EraseDiffSpec: erased,
    SissSpec: subtracted,
    specs.TunedSpec: tuned,
    specs.ImportedModelSpec: imported,
    specs.ConditionalSpec: conditional,
    specs.ClassifierSpec: classifier,
}
# Each stage's version with its numbers.
GOLDEN = {
    specs.TrainSpec: (1, [72, 0.0728278, 0.223771, -0.121722, -0.22489, 0.144224]),
    UnlearnSpec: (1, [144, 0.116679, 0.326993, 0.162894, 0.254282, 0.295345,
                      144, 0.116654, 0.32604, 0.163241, 0.253921, 0.2941]),
    EsdSpec: (1, [240, 0.116456, 0.564062, 0.168741, 0.526958, 0.465119]),
    ContinuedTrainingSpec: (1, [72, 0.116584, 0.323769, 0.162413, 0.253164, 0.292299]),
    NegGradSpec: (1, [144, 0.117401, 1.05015, 0.240952, 1.31265, 0.684715]),
    EraseDiffSpec: (1, [144, 0.11665, 0.327858, 0.167342, 0.259254, 0.292867]),
    SissSpec: (1, [120, 0.116528, 0.318611, 0.160143, 0.253483, 0.282093]),
    specs.TunedSpec: (1, [72, 0.116514, 0.324658, 0.16282, 0.255486, 0.291247]),
    specs.ImportedModelSpec: (1, [0.117637, 0.593182, 0.172444, 0.518609, 0.526226]),
    specs.ConditionalSpec: (1, [72, 0, 2, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 0.0771034, 0.261268, -0.243626,
        -0.0814676, 0.160345]),
    specs.ClassifierSpec: (1, [72, 0.0796537, 0.0428933, 0.0573771, 0.0480543]),
}  # fmt: skip
