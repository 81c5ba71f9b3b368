"""What unlearning by anchors does to a model's images, at the size of presets/styled_digits.yaml."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import ROOT, merged
from sklearn.linear_model import LogisticRegression

from guda.config.file import read_yaml
from guda.core.artifacts import load_tensors
from guda.data.datasets.styled_digits import DESCRIPTORS, look_of
from guda.plan.config import load_config
from guda.plan.experiment import Experiment

FORGOTTEN = "neon"
SAME_LOOK = "lantern"  # a style that draws as it does and is asked for by other words
LOOKS = {style: " ".join(map(str, look_of(style))) for style in DESCRIPTORS}
IMAGES = 40  # of each kind of prompts
pytestmark = pytest.mark.long  # about a quarter of an hour: the pipeline and the base model are made


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The preset's experiment with its base model, and with the model that has unlearned one style."""
    directory = tmp_path_factory.mktemp("styled")
    values = merged(read_yaml(str(ROOT / "config.yaml")), read_yaml(str(ROOT / "presets" / "styled_digits.yaml")))
    of = Experiment(load_config(values | {"results": str(directory / "results")}))
    model = of.paths.model_weights(of.unlearned("guda", FORGOTTEN))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", directory]
    command += ["--cores", "2", model, "--configfile", ROOT / "presets" / "styled_digits.yaml"]
    subprocess.run([*command, "--config", f"results={of.config.results}"], check=True, cwd=directory)
    return of


@pytest.fixture(scope="module")
def classifier(experiment):
    """Tells an image's look from its pixels; styles of two schools share theirs."""
    tensors, _ = load_tensors(experiment.paths.images(), framework="np")
    looks = experiment.dataset.table["style"].map(LOOKS).to_numpy()
    pixels = tensors["images"].reshape(len(looks), -1) / 255
    held_out = np.arange(len(looks)) % 5 == 0
    model = LogisticRegression(C=0.01, max_iter=1000).fit(pixels[~held_out], looks[~held_out])
    assert model.score(pixels[held_out], looks[held_out]) > 0.97
    return model


GENERATE = """
import json, sys
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

folder, model, output, guidance, prompts = json.loads(sys.argv[1])
pipeline = StableDiffusionPipeline.from_pretrained(
    folder, unet=UNet2DConditionModel.from_pretrained(model), safety_checker=None
)
generator = torch.Generator().manual_seed(0)
images = pipeline(
    prompts, num_inference_steps=25, guidance_scale=guidance, generator=generator, output_type="np"
).images
np.save(output, images)
"""


def share_in_style(experiment, classifier, model, styles, output):
    """How many of the images that plain diffusers makes of prompts in these styles look as their style does."""
    styles = [styles[number % len(styles)] for number in range(IMAGES)]
    book = experiment.family.book
    prompts = [
        book.prompt(str(number % 10), style, book.drawn(style, "test", number)) for number, style in enumerate(styles)
    ]
    folder = str(Path(experiment.paths.model_weights(model)).parent)
    task = [experiment.paths.pipeline(), folder, str(output), experiment.family.text.queries.guidance_scale, prompts]
    # In a process of its own: here diffusers may have been imported without transformers.
    subprocess.run([sys.executable, "-c", GENERATE, json.dumps(task)], check=True)
    found = classifier.predict(np.load(output).transpose(0, 3, 1, 2).reshape(IMAGES, -1))
    return np.mean(found == np.array([LOOKS[style] for style in styles]))


def test_the_forgotten_style_is_gone_and_the_others_are_there(experiment, classifier, tmp_path):
    def share(model, styles):
        return share_in_style(experiment, classifier, model, styles, tmp_path / "images.npy")

    others = [style for style in experiment.family.book.styles if style != FORGOTTEN]
    base, unlearned = "base", experiment.unlearned("guda", FORGOTTEN)
    assert share(base, [FORGOTTEN]) > 0.9
    assert share(unlearned, [FORGOTTEN]) < 0.2
    assert LOOKS[SAME_LOOK] == LOOKS[FORGOTTEN]
    for kept in ([SAME_LOOK], others):
        before = share(base, kept)
        assert before > 0.9
        assert share(unlearned, kept) > before - 0.1
