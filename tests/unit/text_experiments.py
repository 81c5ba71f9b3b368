"""A text-to-image experiment for tests of its specs, made without torch."""

from guda.plan.config import load_config
from guda.plan.experiment import Experiment


def text_experiment(text=None, **changes):
    """An experiment with a hundred digits in twelve styles."""
    data = {"dataset": "styled_digits", "group_by": "style", "subset": {"count": 100, "seed": 0}}
    prompts = {"template": "a {label}, {descriptors}", "content_template": "a {label}", "content": "label"}
    text = {"prompts": prompts, "queries": {"guidance_scale": 2.0}} | (text or {})
    return Experiment(load_config({"data": data, "text_to_image": text} | changes))
