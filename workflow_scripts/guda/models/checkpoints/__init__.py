"""Checkpoints that others wrote: their files, settings and weights."""
