"""What unlearning by anchors does to a model's images, at the size of presets/styled_digits.yaml."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import ROOT, merged
from sklearn.linear_model import LogisticRegression

from guda.artifacts import load_tensors
from guda.config import load_config
from guda.config.file import read_yaml
from guda.text_experiment import TextExperiment

FORGOTTEN = "neon"
IMAGES = 40  # of each kind of prompts
pytestmark = pytest.mark.slow  # about a quarter of an hour: the pipeline and the base model are made


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The preset's experiment with its base model, and with the model that has unlearned one style."""
    directory = tmp_path_factory.mktemp("styled")
    values = merged(read_yaml(str(ROOT / "config.yaml")), read_yaml(str(ROOT / "presets" / "styled_digits.yaml")))
    of = TextExperiment(load_config(values | {"results": str(directory / "results")}))
    model = of.paths.model_weights(of.unlearned("guda", FORGOTTEN))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", directory]
    command += ["--cores", "2", model, "--configfile", ROOT / "presets" / "styled_digits.yaml"]
    subprocess.run([*command, "--config", f"results={of.config.results}"], check=True, cwd=directory)
    return of


@pytest.fixture(scope="module")
def classifier(experiment):
    """Tells an image's style from its pixels."""
    tensors, _ = load_tensors(experiment.paths.images(), framework="np")
    styles = experiment.dataset.table["style"].to_numpy()
    pixels = tensors["images"].reshape(len(styles), -1) / 255
    held_out = np.arange(len(styles)) % 5 == 0
    model = LogisticRegression(C=0.01, max_iter=1000).fit(pixels[~held_out], styles[~held_out])
    assert model.score(pixels[held_out], styles[held_out]) > 0.97
    return model


def share_in_style(experiment, classifier, model, styles):
    """How many of the images that plain diffusers makes of prompts in these styles are in the style of their prompt."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(Path(experiment.paths.model_weights(model)).parent)
    pipeline = StableDiffusionPipeline.from_pretrained(experiment.paths.pipeline(), unet=unet, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    styles = [styles[number % len(styles)] for number in range(IMAGES)]
    book = experiment.book
    prompts = [
        book.prompt(str(number % 10), style, book.drawn(style, "test", number)) for number, style in enumerate(styles)
    ]
    images = pipeline(
        prompts,
        num_inference_steps=25,
        guidance_scale=experiment.text.queries.guidance_scale,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images
    found = classifier.predict(images.transpose(0, 3, 1, 2).reshape(IMAGES, -1))
    return np.mean(found == np.array(styles))


def test_the_forgotten_style_is_gone_and_the_others_are_there(experiment, classifier):
    others = [style for style in experiment.book.styles if style != FORGOTTEN]
    base, unlearned = "base", experiment.unlearned("guda", FORGOTTEN)
    assert share_in_style(experiment, classifier, base, [FORGOTTEN]) > 0.9
    assert share_in_style(experiment, classifier, unlearned, [FORGOTTEN]) < 0.45
    before = share_in_style(experiment, classifier, base, others)
    assert before > 0.9
    assert share_in_style(experiment, classifier, unlearned, others) > before - 0.1
