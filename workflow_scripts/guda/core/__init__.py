"""What every room uses: errors, paths, artifacts, records, devices, seeds. Knows nothing of diffusion models."""
