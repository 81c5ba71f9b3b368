"""Pipelines of Stable Diffusion: their folder, and what encodes and decodes."""
