"""Scores from the ELBO terms of proxy models, as from those of any counterfactual models."""

from guda.methods.counterfactual.compute import scores

__all__ = ["scores"]
