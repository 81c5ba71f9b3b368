"""Errors that a user can act on; every stage prints them without a traceback and exits with status 1."""

import difflib


class GudaError(Exception):
    """A problem that the user can fix. The message names the key or file, what was found and the remedy."""


class ConfigError(GudaError):
    """The configuration is wrong."""


class ArgumentError(GudaError, ValueError):
    """An argument of a function of the Python interface is wrong."""


class DataError(GudaError):
    """The training data, a group or a query is not what the configuration says."""


class ArtifactError(GudaError):
    """A file under results/ is missing, damaged, made for another configuration, or cannot be written."""


def nearest_name(name: str, known: list[str]) -> str:
    """'did you mean ...?' with the known name closest to `name`, or the list of known names."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
