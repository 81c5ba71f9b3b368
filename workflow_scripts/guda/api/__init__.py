"""The public API, for notebooks and other code: diffusers models in, models and tables out."""

from guda.api.scores import attribute, elbo
from guda.api.unlearning import unlearn

__all__ = ["attribute", "elbo", "unlearn"]
