"""Checkpoints written elsewhere: their files, settings and weights."""
