"""What is asked of refusals in more than one file of tests."""

import yaml


def sections_to_write(error, key):
    """The sections of the configuration that the refusal of a model says to write."""
    headline, text = str(error).split("\n", 1)
    assert headline.startswith(f"{key}: ")
    assert headline.endswith(" has other settings than the configuration; to use it, write")
    return yaml.safe_load(text)
