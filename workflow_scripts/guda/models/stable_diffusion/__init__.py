"""Stable Diffusion pipelines: their folders, encoders and decoders."""
