"""Errors that a user can act on; every stage prints them without a traceback and exits with status 1."""


class GudaError(Exception):
    """Something in the user's hands is wrong. The message names the key or file, what was found and the cure."""


class ConfigError(GudaError):
    """The configuration is wrong."""


class DataError(GudaError):
    """The training data, a group or a query is not what the configuration says."""


class ArtifactError(GudaError):
    """A file under results/ is missing, damaged, of another configuration, or cannot be written."""
