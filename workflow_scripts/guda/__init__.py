"""GUDA: group-level attribution of generated images by counterfactual unlearning (arXiv 2601.22651)."""

__version__ = "0.1.0"
