"""Errors that a user can act on; every stage prints them without a traceback and exits with status 1."""

import difflib


class GudaError(Exception):
    """Something in the user's hands is wrong. The message names the key or file, what was found and the cure."""


class ConfigError(GudaError):
    """The configuration is wrong."""


class ArgumentError(GudaError, ValueError):
    """An argument of a function of the Python interface is wrong."""


class DataError(GudaError):
    """The training data, a group or a query is not what the configuration says."""


class ArtifactError(GudaError):
    """A file under results/ is missing, damaged, of another configuration, or cannot be written."""


def nearest_name(name: str, known: list[str]) -> str:
    """', did you mean ...' for the known name closest to `name`, or the list of what is known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
