"""Unlearning scores rescaled with a few retrained groups."""
