"""Unlearning's scores on the scale of a few groups that are retrained."""
