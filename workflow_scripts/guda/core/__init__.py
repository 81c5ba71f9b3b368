"""Used by every other package: errors, paths, artifacts, records, devices, seeds. Knows nothing of diffusion models."""
